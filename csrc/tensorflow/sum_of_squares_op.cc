#include "kernels/optim/sum_of_squares.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecSumOfSquares")
    .Input("values: N * T")
    .Output("sum: double")
    .Attr("N: int >= 1")
    .Attr("T: {float, double}")
    .SetShapeFn(tf::shape_inference::ScalarShape)
    .Doc(R"(
Sum of x^2 over all values of some tensors: the same bits for any number of threads.

values: Tensors of any shape.
sum: Scalar, accumulated in float64.
)");

template <typename T>
class SumOfSquaresOp : public DividedOp {
 public:
  using DividedOp::DividedOp;

  void Compute(tf::OpKernelContext* context) override {
    this->RunTraced(context, [&] {
      tf::OpInputList values;
      OP_REQUIRES_OK(context, context->input_list("values", &values));
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
      const DeviceThreads threads(context);
      double sum = 0;
      for (const tf::Tensor& value : values) {
        const auto flat = value.flat<T>();
        sum += SumOfSquares(flat.data(), flat.size(), threads);
      }
      out->scalar<double>()() = sum;
    });
  }
};

REGISTER_KERNEL_BUILDER(
    Name("HvdrecSumOfSquares").Device(tf::DEVICE_CPU).TypeConstraint<float>("T"),
    SumOfSquaresOp<float>);
REGISTER_KERNEL_BUILDER(
    Name("HvdrecSumOfSquares").Device(tf::DEVICE_CPU).TypeConstraint<double>("T"),
    SumOfSquaresOp<double>);

}  // namespace hvdrec
