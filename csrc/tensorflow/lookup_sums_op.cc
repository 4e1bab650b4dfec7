#include <stdexcept>

#include "kernels/layers/lookup_sums.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/index_columns.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecLookupSums")
    .Input("touched: float")
    .Input("index: int32")
    .Output("sums: float")
    .Output("half_squares: float")
    .Attr("first: int >= 0")
    .Attr("columns: int >= 0")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle touched, index;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &touched));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &index));
      c->set_output(0, c->Matrix(c->Dim(index, 0), 1));
      c->set_output(1, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
The sum of all numbers of some rows of `touched`, for each row of the batch.

touched: [U, D].
index: [B, S]: row plus one, 0 for none.
sums: [B, 1].
half_squares: Scalar, half the sum of the squares of all rows looked up.
first: The first of the columns of `index` that are looked up.
columns: Their number.
)");

REGISTER_OP("HvdrecLookupSumsGrad")
    .Input("touched: float")
    .Input("index: int32")
    .Input("upstream: float")
    .Input("squares: float")
    .Output("gradient: float")
    .Attr("first: int >= 0")
    .Attr("columns: int >= 0")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    })
    .Doc("The gradient of HvdrecLookupSums' `touched` from those of both outputs.");

// Common to both ops: the attributes and the shapes.
class LookupSumsBase : public DividedOp {
 public:
  explicit LookupSumsBase(tf::OpKernelConstruction* context)
      : DividedOp(context), range_(context) {}

  void Compute(tf::OpKernelContext* context) final {
    RunTraced(context, [&] { Run(context, Shaped(context->input(0), context->input(1))); });
  }

 protected:
  virtual void Run(tf::OpKernelContext* context, const LookupSums& lookup) const = 0;

 private:
  LookupSums Shaped(const tf::Tensor& touched, const tf::Tensor& index) const {
    if (touched.dims() != 2 || index.dims() != 2) {
      throw std::invalid_argument("the touched rows or their indices are not a matrix");
    }
    if (range_.first + range_.columns > index.dim_size(1)) {
      throw std::invalid_argument("a lookup has fewer columns of indices than it reads");
    }
    return {index.flat<int32_t>().data() + range_.first,
            index.dim_size(0),
            range_.columns,
            index.dim_size(1),
            touched.dim_size(0),
            touched.dim_size(1)};
  }

  const ColumnRange range_;
};

class LookupSumsOp final : public LookupSumsBase {
 public:
  using LookupSumsBase::LookupSumsBase;

 private:
  void Run(tf::OpKernelContext* context, const LookupSums& lookup) const override {
    tf::Tensor *sums, *squares;
    OP_REQUIRES_OK(context, context->allocate_output(0, {lookup.rows, 1}, &sums));
    OP_REQUIRES_OK(context, context->allocate_output(1, {}, &squares));
    const float* const touched = context->input(0).flat<float>().data();
    squares->scalar<float>()() = static_cast<float>(
        LookupSumsForward(lookup, touched, sums->flat<float>().data(), DeviceThreads(context)));
  }
};

class LookupSumsGradOp final : public LookupSumsBase {
 public:
  using LookupSumsBase::LookupSumsBase;

 private:
  void Run(tf::OpKernelContext* context, const LookupSums& lookup) const override {
    const tf::Tensor& touched = context->input(0);
    const tf::Tensor& upstream = context->input(2);
    if (upstream.NumElements() != lookup.rows) {
      throw std::invalid_argument("the gradient of a lookup's sums has another size than they");
    }
    tf::Tensor* gradient;
    OP_REQUIRES_OK(context, context->allocate_output(0, touched.shape(), &gradient));
    LookupSumsBackward(lookup, touched.flat<float>().data(), upstream.flat<float>().data(),
                       context->input(3).scalar<float>()(), gradient->flat<float>().data(),
                       DeviceThreads(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecLookupSums").Device(tf::DEVICE_CPU), LookupSumsOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecLookupSumsGrad").Device(tf::DEVICE_CPU), LookupSumsGradOp);

}  // namespace hvdrec
