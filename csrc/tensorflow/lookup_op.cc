#include <stdexcept>

#include "kernels/layers/lookup.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecLookup")
    .Input("touched: float")
    .Input("index: int32")
    .Output("values: float")
    .Output("half_squares: float")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle touched, values;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &touched));
      TF_RETURN_IF_ERROR(c->Concatenate(c->input(1), c->Vector(c->Dim(touched, 1)), &values));
      c->set_output(0, values);
      c->set_output(1, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
Rows of `touched`, and half the sum of their squares.

touched: [U, D].
index: Of any shape: row plus one, 0 for zeros.
values: The shape of `index`, and D.
half_squares: Scalar, the same bits for any number of threads.
)");

REGISTER_OP("HvdrecLookupGrad")
    .Input("touched: float")
    .Input("index: int32")
    .Input("upstream: float")
    .Input("squares: float")
    .Output("gradient: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    })
    .Doc("The gradient of HvdrecLookup's `touched` from those of both outputs.");

namespace {

Lookup Shaped(const tf::Tensor& touched, const tf::Tensor& index) {
  if (touched.dims() != 2) throw std::invalid_argument("the touched rows are not a matrix");
  return {index.flat<int32_t>().data(), index.NumElements(), touched.dim_size(0),
          touched.dim_size(1)};
}

}  // namespace

class LookupOp final : public tf::OpKernel {
 public:
  using tf::OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& touched = context->input(0);
      const tf::Tensor& index = context->input(1);
      const Lookup lookup = Shaped(touched, index);
      tf::TensorShape shape = index.shape();
      shape.AddDim(lookup.dim);
      tf::Tensor *values, *squares;
      OP_REQUIRES_OK(context, context->allocate_output(0, shape, &values));
      OP_REQUIRES_OK(context, context->allocate_output(1, {}, &squares));
      squares->scalar<float>()() =
          static_cast<float>(LookupForward(lookup, touched.flat<float>().data(),
                                           values->flat<float>().data(), DeviceThreads(context)));
    });
  }
};

class LookupGradOp final : public tf::OpKernel {
 public:
  using tf::OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& touched = context->input(0);
      const tf::Tensor& upstream = context->input(2);
      const Lookup lookup = Shaped(touched, context->input(1));
      if (upstream.NumElements() != lookup.count * lookup.dim) {
        throw std::invalid_argument("the gradient of a lookup has another size than its values");
      }
      tf::Tensor* gradient;
      OP_REQUIRES_OK(context, context->allocate_output(0, touched.shape(), &gradient));
      LookupBackward(lookup, touched.flat<float>().data(), upstream.flat<float>().data(),
                     context->input(3).scalar<float>()(), gradient->flat<float>().data(),
                     DeviceThreads(context));
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecLookup").Device(tf::DEVICE_CPU), LookupOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecLookupGrad").Device(tf::DEVICE_CPU), LookupGradOp);

}  // namespace hvdrec
