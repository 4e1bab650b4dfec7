#include <stdexcept>
#include <vector>

#include "kernels/optim/add_scaled.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/variable.h"

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecMovingAverages")
    .Input("when: bool")
    .Input("variables: N * resource")
    .Input("values: N * float")
    .Attr("N: int >= 1")
    .Attr("weights: list(float)")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::NoOutputs)
    .Doc(R"(
variable -= (variable - value) * weight, for each of some variables.

when: Scalar, whether to do anything.
variables: Float variables.
values: Each of its variable's shape.
weights: N of them.
)");

class MovingAveragesOp final : public DividedOp {
 public:
  explicit MovingAveragesOp(tf::OpKernelConstruction* context) : DividedOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("weights", &weights_));
    OP_REQUIRES(context, 2 * weights_.size() + 1 == static_cast<size_t>(context->num_inputs()),
                tf::errors::InvalidArgument("there must be a weight for each variable"));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      if (!context->input(0).scalar<bool>()()) return;
      const int count = context->num_inputs() / 2;
      for (int i = 0; i < count; ++i) {
        LockedVariable<> variable(context, 1 + i);
        const tf::Tensor& value = context->input(1 + count + i);
        if (value.shape() != variable.shape()) {
          throw std::invalid_argument("a value has another shape than its moving average");
        }
        MoveAverage(value.flat<float>().data(), weights_[i], variable.size(), variable.data());
      }
    });
  }

 private:
  std::vector<float> weights_;
};

REGISTER_KERNEL_BUILDER(Name("HvdrecMovingAverages").Device(tf::DEVICE_CPU), MovingAveragesOp);

}  // namespace hvdrec
