#include <string>

#include "kernels/lists/lists.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecListwise")
    .Input("scores: T")
    .Input("labels: T")
    .Input("sessions: int64")
    .Output("loss: T")
    .Output("gradient: T")
    .Attr("T: {float, double}")
    .Attr("form: {'shares', 'logits', 'masses'}")
    .Attr("by_session: bool")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      tf::shape_inference::ShapeHandle rows;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &rows));
      TF_RETURN_IF_ERROR(c->Merge(rows, c->input(1), &rows));
      bool by_session;
      TF_RETURN_IF_ERROR(c->GetAttr("by_session", &by_session));
      if (by_session) TF_RETURN_IF_ERROR(c->Merge(rows, c->input(2), &rows));
      c->set_output(0, c->Scalar());
      c->set_output(1, rows);
      return absl::OkStatus();
    })
    .Doc(R"(
Mean over sessions of the cross entropy of shares and softmax, and its gradient, in one pass.

scores: [n].
labels: [n], the shares of a session's rows, their logits, or numbers in their proportion, by `form`.
sessions: [n] where `by_session`, else anything: only equality means something.
loss: Scalar, 0 without rows.
gradient: [n], of the loss by the scores.
)");

REGISTER_OP("HvdrecHybrid")
    .Input("logits: T")
    .Input("labels: int32")
    .Input("weights: T")
    .Input("sessions: int64")
    .Output("loss: T")
    .Output("gradient: T")
    .Attr("T: {float, double}")
    .Attr("weighted: bool")
    .Attr("by_session: bool")
    .Attr("same_label: bool")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      tf::shape_inference::ShapeHandle logits, rows;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &logits));
      TF_RETURN_IF_ERROR(c->Merge(c->Vector(c->Dim(logits, 0)), c->input(1), &rows));
      bool weighted, by_session;
      TF_RETURN_IF_ERROR(c->GetAttr("weighted", &weighted));
      TF_RETURN_IF_ERROR(c->GetAttr("by_session", &by_session));
      if (weighted) TF_RETURN_IF_ERROR(c->Merge(rows, c->input(2), &rows));
      if (by_session) TF_RETURN_IF_ERROR(c->Merge(rows, c->input(3), &rows));
      c->set_output(0, c->Scalar());
      c->set_output(1, logits);
      return absl::OkStatus();
    })
    .Doc(R"(
The generative part of JRC, which row of its session a label is at, and its gradient, in one pass.

See csrc/kernels/lists/lists.h.

logits: [n, 2], of label 0 and of label 1.
labels: [n], 0 or 1.
weights: [n] where `weighted`, else anything.
sessions: [n] where `by_session`, else anything: only equality means something.
loss: Scalar, 0 without rows.
gradient: [n, 2], of the loss by the logits.
)");

// Input `index` must have as many elements as there are rows.
tf::Status CheckRows(tf::OpKernelContext* context, int index, int64_t rows) {
  const tf::TensorShape& shape = context->input(index).shape();
  if (shape.dims() == 1 && shape.dim_size(0) == rows) return absl::OkStatus();
  return tf::errors::InvalidArgument(
      "labels, weights and sessions must have one value for each of the ", rows,
      " rows, not shape ", shape.DebugString());
}

const int64_t* SessionIds(tf::OpKernelContext* context, int index, bool by_session) {
  if (!by_session) return nullptr;
  return reinterpret_cast<const int64_t*>(context->input(index).flat<tf::int64>().data());
}

template <typename T>
class ListwiseOp : public tf::OpKernel {
 public:
  explicit ListwiseOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    std::string form;
    OP_REQUIRES_OK(context, context->GetAttr("form", &form));
    OP_REQUIRES_OK(context, context->GetAttr("by_session", &by_session_));
    form_ = ParseListLabels(form);
  }

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor& scores = context->input(0);
    const int64_t n = scores.NumElements();
    OP_REQUIRES(context, scores.dims() == 1,
                tf::errors::InvalidArgument("scores must be a vector, not of shape ",
                                            scores.shape().DebugString()));
    OP_REQUIRES_OK(context, CheckRows(context, 1, n));
    if (by_session_) OP_REQUIRES_OK(context, CheckRows(context, 2, n));
    tf::Tensor *loss, *gradient;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &loss));
    OP_REQUIRES_OK(context, context->allocate_output(1, scores.shape(), &gradient));
    RunKernel(context, [&] {
      const ListRows<T> rows{scores.flat<T>().data(), context->input(1).flat<T>().data(),
                             SessionIds(context, 2, by_session_), n};
      loss->scalar<T>()() = static_cast<T>(
          Listwise<T>(rows, form_, DeviceThreads(context), gradient->flat<T>().data()));
    });
  }

 private:
  ListLabels form_ = ListLabels::kShares;
  bool by_session_ = false;
};

template <typename T>
class HybridOp : public tf::OpKernel {
 public:
  explicit HybridOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("weighted", &weighted_));
    OP_REQUIRES_OK(context, context->GetAttr("by_session", &by_session_));
    OP_REQUIRES_OK(context, context->GetAttr("same_label", &same_label_));
  }

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor& logits = context->input(0);
    OP_REQUIRES(context, logits.dims() == 2 && logits.dim_size(1) == 2,
                tf::errors::InvalidArgument("logits must be of shape [n, 2], not ",
                                            logits.shape().DebugString()));
    const int64_t n = logits.dim_size(0);
    OP_REQUIRES_OK(context, CheckRows(context, 1, n));
    if (weighted_) OP_REQUIRES_OK(context, CheckRows(context, 2, n));
    if (by_session_) OP_REQUIRES_OK(context, CheckRows(context, 3, n));
    tf::Tensor *loss, *gradient;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &loss));
    OP_REQUIRES_OK(context, context->allocate_output(1, logits.shape(), &gradient));
    RunKernel(context, [&] {
      const HybridRows<T> rows{logits.flat<T>().data(), context->input(1).flat<int32_t>().data(),
                               weighted_ ? context->input(2).flat<T>().data() : nullptr,
                               SessionIds(context, 3, by_session_), n};
      loss->scalar<T>()() = static_cast<T>(
          Hybrid<T>(rows, same_label_, DeviceThreads(context), gradient->flat<T>().data()));
    });
  }

 private:
  bool weighted_ = false, by_session_ = false, same_label_ = false;
};

#define HVDREC_REGISTER(T)                                                                      \
  REGISTER_KERNEL_BUILDER(Name("HvdrecListwise").Device(tf::DEVICE_CPU).TypeConstraint<T>("T"), \
                          ListwiseOp<T>);                                                       \
  REGISTER_KERNEL_BUILDER(Name("HvdrecHybrid").Device(tf::DEVICE_CPU).TypeConstraint<T>("T"),   \
                          HybridOp<T>)
HVDREC_REGISTER(float);
HVDREC_REGISTER(double);
#undef HVDREC_REGISTER

}  // namespace hvdrec
