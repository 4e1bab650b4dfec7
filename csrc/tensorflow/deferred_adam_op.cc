#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/optim/deferred_adam.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/variable.h"

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecDeferredAdamRead")
    .Input("variable: resource")
    .Input("first: resource")
    .Input("second: resource")
    .Input("steps: resource")
    .Input("sums: resource")
    .Input("now: resource")
    .Input("rows: int32")
    .Output("values: float")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("epsilon: float")
    .Attr("away: float")
    .SetIsStateful()
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      tf::shape_inference::ShapeHandle rows;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(6), 1, &rows));
      c->set_output(0, c->Matrix(c->Dim(rows, 0), c->UnknownDim()));
      return tf::OkStatus();
    })
    .Doc(R"(
Reads rows of a table whose updates by Adam are deferred, as they are now; changes nothing.

variable: Float [R, D].
first: Its first moment; second: its second.
steps: int32 [R], the step that each row is up to date with.
sums: double [16384, 16], of all tables that are updated together.
now: int64 scalar, the steps since the rows were settled.
rows: [U].
values: [U, D].
)");

REGISTER_OP("HvdrecDeferredAdamUpdate")
    .Input("variable: resource")
    .Input("first: resource")
    .Input("second: resource")
    .Input("steps: resource")
    .Input("sums: resource")
    .Input("now: resource")
    .Input("rows: int32")
    .Input("gradient: float")
    .Input("beta1_power: float")
    .Input("beta2_power: float")
    .Input("rate: float")
    .Input("average: A * resource")
    .Input("averaged_sums: A * resource")
    .Attr("A: int >= 0")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("epsilon: float")
    .Attr("away: float")
    .Attr("weight_decay: float")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::NoOutputs)
    .Doc(R"(
Updates rows of such a table by their gradient, after taking `weight_decay` of their values.

rows: [U], distinct.
gradient: [U, D].
beta1_power: Scalar, beta1 to the power of the updates with this one; beta2_power likewise.
rate: Scalar, the learning rate.
average: Of the variable, or nothing: average -= away (average - variable) after the update.
averaged_sums: double [16384, 16], of all tables that are updated together.
)");

REGISTER_OP("HvdrecDeferredAdamAdvance")
    .Input("sums: resource")
    .Input("now: resource")
    .Input("beta1_power: float")
    .Input("beta2_power: float")
    .Input("rate: float")
    .Input("averaged_sums: A * resource")
    .Attr("A: int >= 0")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("epsilon: float")
    .Attr("away: float")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::NoOutputs)
    .Doc("Counts a step, once all tables are updated.");

REGISTER_OP("HvdrecDeferredAdamSettle")
    .Input("variable: resource")
    .Input("first: resource")
    .Input("second: resource")
    .Input("steps: resource")
    .Input("sums: resource")
    .Input("now: resource")
    .Input("average: A * resource")
    .Input("averaged_sums: A * resource")
    .Attr("A: int >= 0")
    .Attr("beta1: float")
    .Attr("beta2: float")
    .Attr("epsilon: float")
    .Attr("away: float")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::NoOutputs)
    .Doc(
        "Brings all rows of such a table up to date; `now` is to be set to 0 after the last "
        "table.");

namespace {

void RequireSize(int64_t found, int64_t needed, const char* what) {
  if (found != needed) {
    throw std::invalid_argument(std::string(what) + " has " + std::to_string(found) +
                                " elements, not " + std::to_string(needed));
  }
}

float Corrected(tf::OpKernelContext* context, int first) {
  const float power1 = context->input(first).scalar<float>()();
  const float power2 = context->input(first + 1).scalar<float>()();
  const float rate = context->input(first + 2).scalar<float>()();
  return rate * std::sqrt(1.0F - power2) / (1.0F - power1);
}

constexpr int64_t kSums = DeferredAdam<float>::kSteps * DeferredAdam<float>::kRoom;

// The variables of a table, the first six inputs and those of an average, locked in their order.
template <template <typename> class Variable>
class Table {
 public:
  // From input `average` on there may be an average and the sums for it.
  explicit Table(tf::OpKernelContext* context, int average)
      : value_(context, 0),
        m_(context, 1),
        v_(context, 2),
        step_(context, 3),
        sums_(context, 4),
        now_(context, 5) {
    if (value_.shape().dims() != 2) throw std::invalid_argument("the variable is not a matrix");
    RequireSize(m_.size(), value_.size(), "the first moment");
    RequireSize(v_.size(), value_.size(), "the second moment");
    RequireSize(step_.size(), value_.shape().dim_size(0), "the rows' steps");
    RequireSize(sums_.size(), kSums, "the sums");
    if (average >= context->num_inputs()) return;
    average_.emplace(context, average);
    averaged_.emplace(context, average + 1);
    RequireSize(average_->size(), value_.size(), "the average");
    RequireSize(averaged_->size(), kSums, "the sums for averages");
  }

  int64_t dim() const { return value_.shape().dim_size(1); }
  int64_t now() const { return *now_.data(); }

  // Only `Advance` changes them.
  DeferredSums sums() const {
    double* const averaged = averaged_ ? const_cast<double*>(averaged_->data()) : nullptr;
    return {const_cast<double*>(sums_.data()), averaged};
  }

  // Reading doesn't change it.
  DeferredTable<float> table() {
    return {const_cast<float*>(value_.data()),
            const_cast<float*>(m_.data()),
            const_cast<float*>(v_.data()),
            const_cast<int32_t*>(step_.data()),
            value_.shape().dim_size(0),
            dim(),
            average_ ? const_cast<float*>(average_->data()) : nullptr};
  }

 private:
  Variable<float> value_, m_, v_;
  Variable<int32_t> step_;
  SharedVariable<double> sums_;
  SharedVariable<int64_t> now_;
  std::optional<Variable<float>> average_;
  std::optional<SharedVariable<double>> averaged_;
};

}  // namespace

class DeferredAdamBase : public tf::OpKernel {
 public:
  explicit DeferredAdamBase(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    float beta1 = 0, beta2 = 0, epsilon = 0, away = 0;
    OP_REQUIRES_OK(context, context->GetAttr("beta1", &beta1));
    OP_REQUIRES_OK(context, context->GetAttr("beta2", &beta2));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon));
    OP_REQUIRES_OK(context, context->GetAttr("away", &away));
    try {
      adam_ = std::make_unique<DeferredAdam<float>>(1.0F - beta1, 1.0F - beta2, epsilon, away);
    } catch (const std::invalid_argument& error) {
      context->CtxFailure(tf::errors::InvalidArgument(error.what()));
    }
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] { Work(context, *adam_); });
  }

 private:
  virtual void Work(tf::OpKernelContext* context, const DeferredAdam<float>& adam) = 0;

  std::unique_ptr<DeferredAdam<float>> adam_;
};

class DeferredAdamReadOp final : public DeferredAdamBase {
 public:
  using DeferredAdamBase::DeferredAdamBase;

 private:
  void Work(tf::OpKernelContext* context, const DeferredAdam<float>& adam) override {
    Table<SharedVariable> locked(context, context->num_inputs());
    const tf::Tensor& rows = context->input(6);
    tf::Tensor* values = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, {rows.NumElements(), locked.dim()}, &values));
    adam.Read(locked.table(), locked.sums(), locked.now(), rows.flat<int32_t>().data(),
              rows.NumElements(), values->flat<float>().data(), DeviceThreads(context));
  }
};

class DeferredAdamUpdateOp final : public DeferredAdamBase {
 public:
  explicit DeferredAdamUpdateOp(tf::OpKernelConstruction* context) : DeferredAdamBase(context) {
    OP_REQUIRES_OK(context, context->GetAttr("weight_decay", &weight_decay_));
  }

 private:
  void Work(tf::OpKernelContext* context, const DeferredAdam<float>& adam) override {
    Table<LockedVariable> locked(context, 11);
    const tf::Tensor& rows = context->input(6);
    const tf::Tensor& gradient = context->input(7);
    RequireSize(gradient.NumElements(), rows.NumElements() * locked.dim(), "the gradient");
    adam.Update(locked.table(), locked.sums(), locked.now(), rows.flat<int32_t>().data(),
                rows.NumElements(), gradient.flat<float>().data(), Corrected(context, 8),
                weight_decay_, DeviceThreads(context));
  }

  float weight_decay_ = 0;
};

class DeferredAdamAdvanceOp final : public DeferredAdamBase {
 public:
  using DeferredAdamBase::DeferredAdamBase;

 private:
  void Work(tf::OpKernelContext* context, const DeferredAdam<float>& adam) override {
    LockedVariable<double> sums(context, 0);
    LockedVariable<int64_t> now(context, 1);
    RequireSize(sums.size(), kSums, "the sums");
    std::optional<LockedVariable<double>> averaged;
    if (context->num_inputs() > 5) {
      averaged.emplace(context, 5);
      RequireSize(averaged->size(), kSums, "the sums for averages");
    }
    adam.Advance({sums.data(), averaged ? averaged->data() : nullptr}, *now.data(),
                 Corrected(context, 2));
    ++*now.data();
  }
};

class DeferredAdamSettleOp final : public DeferredAdamBase {
 public:
  using DeferredAdamBase::DeferredAdamBase;

 private:
  void Work(tf::OpKernelContext* context, const DeferredAdam<float>& adam) override {
    Table<LockedVariable> locked(context, 6);
    adam.Settle(locked.table(), locked.sums(), locked.now(), DeviceThreads(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecDeferredAdamRead").Device(tf::DEVICE_CPU), DeferredAdamReadOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecDeferredAdamUpdate").Device(tf::DEVICE_CPU),
                        DeferredAdamUpdateOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecDeferredAdamAdvance").Device(tf::DEVICE_CPU),
                        DeferredAdamAdvanceOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecDeferredAdamSettle").Device(tf::DEVICE_CPU),
                        DeferredAdamSettleOp);

}  // namespace hvdrec
