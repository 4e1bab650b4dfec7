#include <string>

#include "kernels/pairwise/pairwise.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

#ifdef HVDREC_CUDA
#include "kernels/gpu/gpu_losses.h"
#include "tensorflow/gpu_adapter.h"
#endif

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecPairwise")
    .Input("scores: T")
    .Input("labels: T")
    .Input("weights: T")
    .Input("sessions: int64")
    .Input("parameters: double")
    .Output("loss: T")
    .Output("gradient: T")
    .Output("pairs: double")
    .Attr("T: {float, double}")
    .Attr("kind: {'logistic', 'focal', 'hinge', 'squared_hinge', 'square'}")
    .Attr("weighted: bool")
    .Attr("by_session: bool")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      tf::shape_inference::ShapeHandle rows, unused;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &rows));
      TF_RETURN_IF_ERROR(c->Merge(rows, c->input(1), &rows));
      bool weighted, by_session;
      TF_RETURN_IF_ERROR(c->GetAttr("weighted", &weighted));
      TF_RETURN_IF_ERROR(c->GetAttr("by_session", &by_session));
      if (weighted) TF_RETURN_IF_ERROR(c->Merge(rows, c->input(2), &rows));
      if (by_session) TF_RETURN_IF_ERROR(c->Merge(rows, c->input(3), &rows));
      TF_RETURN_IF_ERROR(c->Merge(c->input(4), c->Vector(6), &unused));
      c->set_output(0, c->Scalar());
      c->set_output(1, rows);
      c->set_output(2, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
Mean loss over the pairs of rows with different labels, and its gradient, in one pass.

With u = score / temperature - label_scale * label, a pair (i, j) of one session with label_i >
label_j costs weight_i * f(u_i - u_j), f by `kind`; see csrc/kernels/pairwise/pairwise.h. A number that isn't
finite makes all results NaN.

scores: [n].
labels: [n], graded.
weights: [n] where `weighted`, else anything.
sessions: [n] where `by_session`, else anything: only equality means something.
parameters: temperature, margin, label_scale, gamma, limit, hardest.
loss: Scalar, 0 without pairs.
gradient: [n], of the loss by the scores.
pairs: Scalar, the divisor of the mean.
)");

// `Device`: what the kernel runs on, made of the op's context.
template <typename T, typename Device>
class PairwiseOp : public tf::OpKernel {
 public:
  explicit PairwiseOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    std::string kind;
    OP_REQUIRES_OK(context, context->GetAttr("kind", &kind));
    OP_REQUIRES_OK(context, context->GetAttr("weighted", &weighted_));
    OP_REQUIRES_OK(context, context->GetAttr("by_session", &by_session_));
    options_.loss = ParsePairLoss(kind);
  }

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor& scores = context->input(0);
    OP_REQUIRES(context, tf::TensorShapeUtils::IsVector(scores.shape()),
                tf::errors::InvalidArgument("scores must be a vector, not of shape ",
                                            scores.shape().DebugString()));
    const int64_t n = scores.NumElements();
    for (int input = 1; input <= 3; ++input) {
      if ((input == 2 && !weighted_) || (input == 3 && !by_session_)) continue;
      const tf::TensorShape& shape = context->input(input).shape();
      OP_REQUIRES(context, shape == scores.shape(),
                  tf::errors::InvalidArgument(
                      "labels, weights and sessions must have one value for each of the ", n,
                      " scores, not shape ", shape.DebugString()));
    }
    PairwiseOptions options = options_;
    OP_REQUIRES(context, context->input(4).NumElements() == 6,
                tf::errors::InvalidArgument("parameters must be 6 numbers"));
    const auto parameters = context->input(4).flat<double>();
    options.temperature = parameters(0);
    options.margin = parameters(1);
    options.label_scale = parameters(2);
    options.gamma = parameters(3);
    options.limit = parameters(4);
    options.hardest = parameters(5);
    tf::Tensor *loss, *gradient, *pairs;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &loss));
    OP_REQUIRES_OK(context, context->allocate_output(1, scores.shape(), &gradient));
    OP_REQUIRES_OK(context, context->allocate_output(2, {}, &pairs));
    RunKernel(context, [&] {
      const PairwiseRows<T> rows{
          scores.flat<T>().data(), context->input(1).flat<T>().data(),
          weighted_ ? context->input(2).flat<T>().data() : nullptr,
          by_session_ ? reinterpret_cast<const int64_t*>(context->input(3).flat<tf::int64>().data())
                      : nullptr,
          n};
      const PairwiseResult result =
          Pairwise<T>(rows, options, Device(context), gradient->flat<T>().data());
      loss->scalar<T>()() = static_cast<T>(result.loss);
      pairs->scalar<double>()() = result.pairs;
    });
  }

 private:
  PairwiseOptions options_;
  bool weighted_ = false, by_session_ = false;
};

REGISTER_KERNEL_BUILDER(Name("HvdrecPairwise").Device(tf::DEVICE_CPU).TypeConstraint<float>("T"),
                        PairwiseOp<float, DeviceThreads>);
REGISTER_KERNEL_BUILDER(Name("HvdrecPairwise").Device(tf::DEVICE_CPU).TypeConstraint<double>("T"),
                        PairwiseOp<double, DeviceThreads>);

#ifdef HVDREC_CUDA
#define HVDREC_REGISTER_GPU(T)                          \
  REGISTER_KERNEL_BUILDER(Name("HvdrecPairwise")        \
                              .Device(tf::DEVICE_GPU)   \
                              .TypeConstraint<T>("T")   \
                              .HostMemory("parameters") \
                              .HostMemory("loss")       \
                              .HostMemory("pairs"),     \
                          PairwiseOp<T, DeviceGpu>)
HVDREC_REGISTER_GPU(float);
HVDREC_REGISTER_GPU(double);
#endif

}  // namespace hvdrec
