#include <stdexcept>

#include "kernels/layers/lookup.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/index_columns.h"
#include "tensorflow/variable.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecLookup")
    .Input("touched: float")
    .Input("index: int32")
    .Output("values: float")
    .Output("half_squares: float")
    .Attr("first: int >= 0 = 0")
    .Attr("columns: int = -1")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle touched, values, index = c->input(1);
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &touched));
      int64_t columns = -1;
      TF_RETURN_IF_ERROR(c->GetAttr("columns", &columns));
      if (columns >= 0) {
        TF_RETURN_IF_ERROR(c->WithRank(index, 2, &index));
        index = c->Matrix(c->Dim(index, 0), columns);
      }
      TF_RETURN_IF_ERROR(c->Concatenate(index, c->Vector(c->Dim(touched, 1)), &values));
      c->set_output(0, values);
      c->set_output(1, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
Rows of `touched`, and half the sum of their squares.

touched: [U, D].
index: Of any shape: row plus one, 0 for zeros.
values: The shape of what is read of `index`, and D.
half_squares: Scalar, the same bits for any number of threads.
first: The first column that is read of an index [B, S].
columns: Their number; -1 for all of an index of any shape.
)");

REGISTER_OP("HvdrecGatherRows")
    .Input("table: resource")
    .Input("rows: int32")
    .Output("values: float")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Matrix(c->NumElements(c->input(1)), c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"(
Rows of a variable, as ResourceGather reads them.

table: A float variable [R, D].
rows: [U], in [0, R).
values: [U, D].
)");

REGISTER_OP("HvdrecLookupGrad")
    .Input("touched: float")
    .Input("index: int32")
    .Input("upstream: float")
    .Input("squares: float")
    .Output("gradient: float")
    .Attr("first: int >= 0 = 0")
    .Attr("columns: int = -1")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    })
    .Doc("The gradient of HvdrecLookup's `touched` from those of both outputs.");

// Common to both ops: the attributes and the shapes.
class LookupBase : public DividedOp {
 public:
  explicit LookupBase(tf::OpKernelConstruction* context) : DividedOp(context), range_(context) {}

  void Compute(tf::OpKernelContext* context) final {
    RunTraced(context, [&] {
      const tf::Tensor& touched = context->input(0);
      if (touched.dims() != 2) throw std::invalid_argument("the touched rows are not a matrix");
      const IndexColumns index(context->input(1), range_);
      Run(context, index.shape(),
          {index.data(), index.shape().num_elements(), touched.dim_size(0), touched.dim_size(1)});
    });
  }

 protected:
  virtual void Run(tf::OpKernelContext* context, const tf::TensorShape& shape,
                   const Lookup& lookup) const = 0;

 private:
  const ColumnRange range_;
};

class LookupOp final : public LookupBase {
 public:
  using LookupBase::LookupBase;

 private:
  void Run(tf::OpKernelContext* context, const tf::TensorShape& shape,
           const Lookup& lookup) const override {
    tf::TensorShape values_shape = shape;
    values_shape.AddDim(lookup.dim);
    tf::Tensor *values, *squares;
    OP_REQUIRES_OK(context, context->allocate_output(0, values_shape, &values));
    OP_REQUIRES_OK(context, context->allocate_output(1, {}, &squares));
    squares->scalar<float>()() =
        static_cast<float>(LookupForward(lookup, context->input(0).flat<float>().data(),
                                         values->flat<float>().data(), DeviceThreads(context)));
  }
};

class LookupGradOp final : public LookupBase {
 public:
  using LookupBase::LookupBase;

 private:
  void Run(tf::OpKernelContext* context, const tf::TensorShape&,
           const Lookup& lookup) const override {
    const tf::Tensor& touched = context->input(0);
    const tf::Tensor& upstream = context->input(2);
    if (upstream.NumElements() != lookup.count * lookup.dim) {
      throw std::invalid_argument("the gradient of a lookup has another size than its values");
    }
    tf::Tensor* gradient;
    OP_REQUIRES_OK(context, context->allocate_output(0, touched.shape(), &gradient));
    LookupBackward(lookup, touched.flat<float>().data(), upstream.flat<float>().data(),
                   context->input(3).scalar<float>()(), gradient->flat<float>().data(),
                   DeviceThreads(context));
  }
};

class GatherRowsOp final : public DividedOp {
 public:
  using DividedOp::DividedOp;

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      const tf::Tensor& rows = context->input(1);
      const SharedVariable<> table(context, 0);
      if (table.shape().dims() != 2 || rows.dims() != 1) {
        throw std::invalid_argument("a table is not a matrix, or its rows are not a vector");
      }
      const int64_t dim = table.shape().dim_size(1);
      tf::Tensor* values;
      OP_REQUIRES_OK(context, context->allocate_output(0, {rows.dim_size(0), dim}, &values));
      GatherRows(table.data(), table.shape().dim_size(0), dim, rows.flat<int32_t>().data(),
                 rows.dim_size(0), values->flat<float>().data(), DeviceThreads(context));
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecGatherRows").Device(tf::DEVICE_CPU), GatherRowsOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecLookup").Device(tf::DEVICE_CPU), LookupOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecLookupGrad").Device(tf::DEVICE_CPU), LookupGradOp);

}  // namespace hvdrec
