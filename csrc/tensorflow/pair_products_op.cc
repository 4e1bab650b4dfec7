#include <stdexcept>

#include "kernels/layers/pair_products.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecPairProducts")
    .Input("x: float")
    .Output("products: float")
    .Output("same: others * float")
    .Attr("others: int >= 0")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle x;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 3, &x));
      c->set_output(0, c->Matrix(c->Dim(x, 0), c->Dim(x, 2)));
      for (int i = 1; i < c->num_outputs(); ++i) c->set_output(i, x);
      return absl::OkStatus();
    })
    .Doc(R"(
The products of all pairs of a row's fields, summed.

x: [B, F, D].
products: [B, D], ((sum over F of x)^2 - sum over F of x^2) / 2.
same: x, for what else reads it; none or one.
others: How many.
)");

REGISTER_OP("HvdrecPairProductsGrad")
    .Input("x: float")
    .Input("upstream: float")
    .Input("same: others * float")
    .Output("gradient: float")
    .Attr("others: int >= 0")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(0));
      return absl::OkStatus();
    })
    .Doc("The gradient of HvdrecPairProducts' x from those of its outputs.");

namespace {

FieldShape Shaped(const tf::Tensor& x) {
  if (x.dims() != 3) throw std::invalid_argument("x has not three dimensions");
  return {x.dim_size(0), x.dim_size(1), x.dim_size(2)};
}

}  // namespace

class PairProductsOp final : public DividedOp {
 public:
  using DividedOp::DividedOp;

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      const FieldShape shape = Shaped(context->input(0));
      tf::Tensor* products;
      OP_REQUIRES_OK(context, context->allocate_output(0, {shape.rows, shape.dim}, &products));
      PairProducts(shape, context->input(0).flat<float>().data(), products->flat<float>().data(),
                   DeviceThreads(context));
      for (int i = 1; i < context->num_outputs(); ++i) context->set_output(i, context->input(0));
    });
  }
};

class PairProductsGradOp final : public DividedOp {
 public:
  using DividedOp::DividedOp;

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      const tf::Tensor& x = context->input(0);
      const tf::Tensor& upstream = context->input(1);
      const FieldShape shape = Shaped(x);
      if (upstream.NumElements() != shape.rows * shape.dim) {
        throw std::invalid_argument("the gradient of pair products has another size than they");
      }
      const float* other = nullptr;
      if (context->num_inputs() > 3)
        throw std::invalid_argument("embeddings are passed on at most once");
      if (context->num_inputs() > 2) {
        if (context->input(2).NumElements() != x.NumElements()) {
          throw std::invalid_argument("the gradient of x has another size than x");
        }
        other = context->input(2).flat<float>().data();
      }
      tf::Tensor* gradient;
      const auto status = other == nullptr ? context->allocate_output(0, x.shape(), &gradient)
                                           : context->forward_input_or_allocate_output(
                                                 {2}, 0, x.shape(), &gradient);
      OP_REQUIRES_OK(context, status);
      PairProductsBackward(shape, x.flat<float>().data(), upstream.flat<float>().data(), other,
                           gradient->flat<float>().data(), DeviceThreads(context));
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecPairProducts").Device(tf::DEVICE_CPU), PairProductsOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecPairProductsGrad").Device(tf::DEVICE_CPU), PairProductsGradOp);

}  // namespace hvdrec
