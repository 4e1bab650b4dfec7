#include <cmath>
#include <deque>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/optim/adam.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/variable.h"

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecAdam")
    .Input("when: bool")
    .Input("beta1_power: float")
    .Input("beta2_power: float")
    .Input("rate: float")
    .Input("variables: N * resource")
    .Input("first: N * resource")
    .Input("second: N * resource")
    .Input("gradients: N * float")
    .Attr("N: int >= 1")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("epsilon: float")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::NoOutputs)
    .Doc(R"(
Updates variables by Adam, as ResourceApplyAdam does one.

when: Scalar, whether to do anything.
beta1_power: Scalar, beta1 to the power of the updates with this one; beta2_power likewise.
rate: Scalar, the learning rate.
variables: Float variables.
first: Their first moments.
second: Their second moments.
gradients: Each of its variable's shape.
)");

REGISTER_OP("HvdrecAdamRows")
    .Input("when: bool")
    .Input("beta1_power: float")
    .Input("beta2_power: float")
    .Input("rate: float")
    .Input("variable: resource")
    .Input("first: resource")
    .Input("second: resource")
    .Input("rows: int32")
    .Input("gradient: float")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("epsilon: float")
    .Attr("remembers: bool")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::NoOutputs)
    .Doc(R"(
Updates a variable [R, D] by Adam; rows without a gradient count as rows with gradient 0.

rows: [U], distinct.
gradient: [U, D].
remembers: Whether to remember which rows have moments until the next update. What replaces the
  moments then takes memory of its own until that update.
)");

// Common to both ops: the betas, and the scalar inputs.
class AdamBase : public DividedOp {
 public:
  explicit AdamBase(tf::OpKernelConstruction* context) : DividedOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("beta1", &beta1_));
    OP_REQUIRES_OK(context, context->GetAttr("beta2", &beta2_));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      if (!context->input(0).scalar<bool>()()) return;
      const float power1 = context->input(1).scalar<float>()();
      const float power2 = context->input(2).scalar<float>()();
      const float rate = context->input(3).scalar<float>()();
      const float corrected = rate * std::sqrt(1.0F - power2) / (1.0F - power1);
      Update(context, {corrected, 1.0F - beta1_, 1.0F - beta2_, epsilon_}, DeviceThreads(context));
    });
  }

 protected:
  virtual void Update(tf::OpKernelContext* context, const AdamStep& step,
                      const Parallel& parallel) = 0;

  static void RequireSize(int64_t found, int64_t needed, const char* what) {
    if (found != needed) {
      throw std::invalid_argument(std::string(what) + " has " + std::to_string(found) +
                                  " elements, not " + std::to_string(needed));
    }
  }

 private:
  float beta1_ = 0;
  float beta2_ = 0;
  float epsilon_ = 0;
};

// Inputs before those of the variables.
constexpr int kFirst = 4;

class AdamOp final : public AdamBase {
 public:
  using AdamBase::AdamBase;

 private:
  void Update(tf::OpKernelContext* context, const AdamStep& step,
              const Parallel& parallel) override {
    const int count = (context->num_inputs() - kFirst) / 4;
    std::deque<LockedVariable<>> locked;
    std::vector<DenseUpdate> updates;
    for (int i = 0; i < count; ++i) {
      LockedVariable<>& value = locked.emplace_back(context, kFirst + i);
      LockedVariable<>& m = locked.emplace_back(context, kFirst + count + i);
      LockedVariable<>& v = locked.emplace_back(context, kFirst + 2 * count + i);
      const tf::Tensor& gradient = context->input(kFirst + 3 * count + i);
      RequireSize(m.size(), value.size(), "a first moment");
      RequireSize(v.size(), value.size(), "a second moment");
      RequireSize(gradient.NumElements(), value.size(), "a gradient");
      updates.push_back(
          {gradient.flat<float>().data(), value.size(), {value.data(), m.data(), v.data()}});
    }
    AdamDense(step, updates, parallel);
  }
};

class AdamRowsOp final : public AdamBase {
 public:
  explicit AdamRowsOp(tf::OpKernelConstruction* context) : AdamBase(context) {
    OP_REQUIRES_OK(context, context->GetAttr("remembers", &remembers_));
  }

 private:
  void Update(tf::OpKernelContext* context, const AdamStep& step,
              const Parallel& parallel) override {
    const tf::mutex_lock lock(mutex_);
    LockedVariable<> value(context, kFirst);
    LockedVariable<> m(context, kFirst + 1, std::move(kept_m_));
    LockedVariable<> v(context, kFirst + 2, std::move(kept_v_));
    const tf::Tensor& rows = context->input(kFirst + 3);
    const tf::Tensor& gradient = context->input(kFirst + 4);
    if (value.shape().dims() != 2) throw std::invalid_argument("the variable is not a matrix");
    const int64_t dim = value.shape().dim_size(1);
    RequireSize(m.size(), value.size(), "the first moment");
    RequireSize(v.size(), value.size(), "the second moment");
    RequireSize(gradient.NumElements(), rows.NumElements() * dim, "the gradient");
    const int64_t all = value.shape().dim_size(0);
    if (!m.is_kept() || !v.is_kept() || moving_.rows() != all) moving_.Reset(all);
    AdamRows(step, rows.flat<int32_t>().data(), rows.NumElements(), gradient.flat<float>().data(),
             dim, {value.data(), m.data(), v.data()}, &moving_, parallel);
    if (!remembers_) return;
    kept_m_ = m.Keep();
    kept_v_ = v.Keep();
  }

  bool remembers_ = false;

  tf::mutex mutex_;
  MovingRows moving_;
  // Empty where `moving_` isn't of the moments.
  tf::Tensor kept_m_, kept_v_;
};

REGISTER_KERNEL_BUILDER(Name("HvdrecAdam").Device(tf::DEVICE_CPU), AdamOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecAdamRows").Device(tf::DEVICE_CPU), AdamRowsOp);

}  // namespace hvdrec
