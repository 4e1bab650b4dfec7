#include <stdexcept>
#include <vector>

#include "kernels/optim/add_scaled.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecAddScaled")
    .Input("values: N * float")
    .Input("added: N * float")
    .Input("scale: float")
    .Output("sums: N * float")
    .Attr("N: int >= 1")
    .Attr("scales: list(float)")
    .SetShapeFn([](InferenceContext* c) {
      for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, c->input(i));
      return absl::OkStatus();
    })
    .Doc(R"(
value + added * (scale * its own scale), for each of some tensors.

values: Of any shapes.
added: Each of its value's shape.
scale: Scalar.
scales: N of them.
)");

class AddScaledOp final : public DividedOp {
 public:
  explicit AddScaledOp(tf::OpKernelConstruction* context) : DividedOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("scales", &scales_));
    OP_REQUIRES(context, scales_.size() == static_cast<size_t>(context->num_outputs()),
                tf::errors::InvalidArgument("there must be a scale for each value"));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      const int count = context->num_outputs();
      const float scale = context->input(2 * count).scalar<float>()();
      for (int i = 0; i < count; ++i) {
        const tf::Tensor& value = context->input(i);
        const tf::Tensor& added = context->input(count + i);
        if (value.shape() != added.shape()) {
          throw std::invalid_argument("what is added has another shape than its value");
        }
        tf::Tensor* sum;
        OP_REQUIRES_OK(context,
                       context->forward_input_or_allocate_output({i}, i, value.shape(), &sum));
        AddScaled(value.flat<float>().data(), added.flat<float>().data(), scale * scales_[i],
                  value.NumElements(), sum->flat<float>().data());
      }
    });
  }

 private:
  std::vector<float> scales_;
};

REGISTER_KERNEL_BUILDER(Name("HvdrecAddScaled").Device(tf::DEVICE_CPU), AddScaledOp);

}  // namespace hvdrec
