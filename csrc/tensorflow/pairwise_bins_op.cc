#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/pairwise/bin_sum.h"
#include "kernels/pairwise/bins.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace hvdrec {
namespace tf = ::tensorflow;
namespace {

// As the columns of a tensor: label, panel, rows, weighing rows.
constexpr int kBinNumbers = sizeof(PairBin) / sizeof(double);
static_assert(kBinNumbers == 4);

using Shape = tf::shape_inference::ShapeHandle;

// The rows, which are the first inputs of every op here.
tf::Status RowsShape(tf::shape_inference::InferenceContext* c, Shape* rows) {
  Shape unused;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, rows));
  TF_RETURN_IF_ERROR(c->Merge(*rows, c->input(1), rows));
  bool weighted;
  TF_RETURN_IF_ERROR(c->GetAttr("weighted", &weighted));
  if (weighted) TF_RETURN_IF_ERROR(c->Merge(*rows, c->input(2), rows));
  return c->Merge(c->input(3), c->Vector(4), &unused);
}

Shape BinsShape(tf::shape_inference::InferenceContext* c) {
  return c->Matrix(c->UnknownDim(), kBinNumbers);
}

}  // namespace

REGISTER_OP("HvdrecPairwiseBins")
    .Input("scores: T")
    .Input("labels: T")
    .Input("weights: T")
    .Input("parameters: double")
    .Output("bins: double")
    .Output("order: int32")
    .Attr("T: {float, double}")
    .Attr("kind: {'logistic', 'focal'}")
    .Attr("weighted: bool")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      Shape rows;
      TF_RETURN_IF_ERROR(RowsShape(c, &rows));
      c->set_output(0, BinsShape(c));
      c->set_output(1, rows);
      return absl::OkStatus();
    })
    .Doc(R"(
The bins of label and panel of the score axis that rows lie in; see csrc/kernels/pairwise/bins.h.

scores: [n].
labels: [n], graded.
weights: [n] where `weighted`, else anything.
parameters: temperature, margin, label_scale, gamma.
bins: [K, 4]: label, panel, number of rows, number of rows whose weight isn't 0.
order: [n], the rows of the first bin, of the second, and so on.
)");

REGISTER_OP("HvdrecPairwiseMoments")
    .Input("scores: T")
    .Input("labels: T")
    .Input("weights: T")
    .Input("parameters: double")
    .Input("bins: double")
    .Input("order: int32")
    .Input("gathered: double")
    .Output("all: double")
    .Output("moments: double")
    .Attr("T: {float, double}")
    .Attr("kind: {'logistic', 'focal'}")
    .Attr("weighted: bool")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      Shape rows;
      TF_RETURN_IF_ERROR(RowsShape(c, &rows));
      c->set_output(0, BinsShape(c));
      c->set_output(1, c->Matrix(c->UnknownDim(), c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"(
The moments of rows in the bins of all processes.

bins, order: What HvdrecPairwiseBins gives for these rows.
gathered: [G, 4], the bins of all processes.
all: [E, 4], each of them once; E is 0 where the loss is better made from the rows themselves.
moments: [E, M], to be added up over the processes.
)");

REGISTER_OP("HvdrecPairwiseOverBins")
    .Input("scores: T")
    .Input("labels: T")
    .Input("weights: T")
    .Input("parameters: double")
    .Input("bins: double")
    .Input("order: int32")
    .Input("all: double")
    .Input("moments: double")
    .Output("loss: T")
    .Output("gradient: T")
    .Output("pairs: double")
    .Attr("T: {float, double}")
    .Attr("kind: {'logistic', 'focal'}")
    .Attr("weighted: bool")
    .SetShapeFn([](tf::shape_inference::InferenceContext* c) {
      Shape rows;
      TF_RETURN_IF_ERROR(RowsShape(c, &rows));
      c->set_output(0, c->Scalar());
      c->set_output(1, rows);
      c->set_output(2, c->Scalar());
      return absl::OkStatus();
    })
    .Doc(R"(
The loss over the rows of all processes, and its gradient by the scores of this one.

bins, order: What HvdrecPairwiseBins gives for these rows.
all: [E, 4], what HvdrecPairwiseMoments gives.
moments: [E, M], the sum of what it gives.
loss: Scalar, 0 without pairs.
gradient: [n].
pairs: Scalar, the divisor of the mean.
)");

namespace {

std::vector<PairBin> Bins(const tf::Tensor& tensor) {
  if (tensor.dims() != 2 || tensor.dim_size(1) != kBinNumbers) {
    throw std::invalid_argument("bins must be of shape [K, 4]");
  }
  std::vector<PairBin> bins(static_cast<size_t>(tensor.dim_size(0)));
  if (!bins.empty()) {
    std::memcpy(bins.data(), tensor.flat<double>().data(), bins.size() * sizeof(PairBin));
  }
  return bins;
}

PairBinRows BinRows(const tf::Tensor& bins, const tf::Tensor& order) {
  const int32_t* const rows = order.flat<int32_t>().data();
  return {Bins(bins), std::vector<int32_t>(rows, rows + order.NumElements())};
}

void Fill(const std::vector<PairBin>& bins, tf::Tensor* tensor) {
  if (bins.empty()) return;
  std::memcpy(tensor->flat<double>().data(), bins.data(), bins.size() * sizeof(PairBin));
}

// Allocates outputs 0, 1, ... of these shapes.
template <size_t N>
tf::Status Allocate(tf::OpKernelContext* context, const tf::TensorShape (&shapes)[N],
                    tf::Tensor* (*outputs)[N]) {
  for (size_t k = 0; k < N; ++k) {
    TF_RETURN_IF_ERROR(context->allocate_output(static_cast<int>(k), shapes[k], &(*outputs)[k]));
  }
  return absl::OkStatus();
}

int64_t Size(size_t size) { return static_cast<int64_t>(size); }

}  // namespace

template <typename T>
class PairwiseBinsBase : public tf::OpKernel {
 public:
  explicit PairwiseBinsBase(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    std::string kind;
    OP_REQUIRES_OK(context, context->GetAttr("kind", &kind));
    OP_REQUIRES_OK(context, context->GetAttr("weighted", &weighted_));
    options_.loss = ParsePairLoss(kind);
  }

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor& scores = context->input(0);
    for (int input = 0; input <= (weighted_ ? 2 : 1); ++input) {
      const tf::TensorShape& shape = context->input(input).shape();
      OP_REQUIRES(
          context, tf::TensorShapeUtils::IsVector(shape) && shape == scores.shape(),
          tf::errors::InvalidArgument("scores, labels and weights must be vectors of the same ",
                                      "size, not of shape ", shape.DebugString()));
    }
    OP_REQUIRES(context, context->input(3).NumElements() == 4,
                tf::errors::InvalidArgument("parameters must be 4 numbers"));
    const auto parameters = context->input(3).flat<double>();
    PairwiseOptions options = options_;
    options.temperature = parameters(0);
    options.margin = parameters(1);
    options.label_scale = parameters(2);
    options.gamma = parameters(3);
    PairwiseRows<T> rows{scores.flat<T>().data(), context->input(1).flat<T>().data(), nullptr,
                         nullptr, scores.NumElements()};
    // Not null even without rows: weights determine the form of the moments, which must be the same
    // in all processes.
    static const T nowhere = 0;
    if (weighted_) rows.weights = rows.count > 0 ? context->input(2).flat<T>().data() : &nowhere;
    RunKernel(context, [&] { Run(context, rows, options); });
  }

 private:
  virtual void Run(tf::OpKernelContext* context, const PairwiseRows<T>& rows,
                   const PairwiseOptions& options) = 0;

  PairwiseOptions options_;
  bool weighted_ = false;
};

template <typename T>
class PairwiseBinsOp final : public PairwiseBinsBase<T> {
 public:
  using PairwiseBinsBase<T>::PairwiseBinsBase;

 private:
  void Run(tf::OpKernelContext* context, const PairwiseRows<T>& rows,
           const PairwiseOptions& options) override {
    const PairBinRows found = FindBins(rows, options, DeviceThreads(context));
    tf::Tensor* out[2];  // bins, order
    OP_REQUIRES_OK(context,
                   Allocate(context, {{Size(found.bins.size()), kBinNumbers}, {rows.count}}, &out));
    Fill(found.bins, out[0]);
    std::copy(found.order.begin(), found.order.end(), out[1]->flat<int32_t>().data());
  }
};

template <typename T>
class PairwiseMomentsOp final : public PairwiseBinsBase<T> {
 public:
  using PairwiseBinsBase<T>::PairwiseBinsBase;

 private:
  void Run(tf::OpKernelContext* context, const PairwiseRows<T>& rows,
           const PairwiseOptions& options) override {
    const std::vector<PairBin> gathered = Bins(context->input(6));
    const std::vector<PairBin> all = MergeBins(gathered.data(), Size(gathered.size()));
    tf::Tensor* out[2];  // all, moments
    OP_REQUIRES_OK(context, Allocate(context,
                                     {{Size(all.size()), kBinNumbers},
                                      {Size(all.size()), MomentsPerBin(rows, options)}},
                                     &out));
    if (all.empty()) return;
    Fill(all, out[0]);
    const std::vector<double> found = BinMoments(
        rows, options, BinRows(context->input(4), context->input(5)), all, DeviceThreads(context));
    std::copy(found.begin(), found.end(), out[1]->flat<double>().data());
  }
};

template <typename T>
class PairwiseOverBinsOp final : public PairwiseBinsBase<T> {
 public:
  using PairwiseBinsBase<T>::PairwiseBinsBase;

 private:
  void Run(tf::OpKernelContext* context, const PairwiseRows<T>& rows,
           const PairwiseOptions& options) override {
    const std::vector<PairBin> all = Bins(context->input(6));
    const tf::Tensor& moments = context->input(7);
    OP_REQUIRES(context, moments.NumElements() == Size(all.size()) * MomentsPerBin(rows, options),
                tf::errors::InvalidArgument("the moments do not match the bins"));
    tf::Tensor* out[3];  // loss, gradient, pairs
    OP_REQUIRES_OK(context, Allocate(context, {{}, {rows.count}, {}}, &out));
    const PairwiseResult result = SumOverBins(
        rows, options, BinRows(context->input(4), context->input(5)), all,
        moments.flat<double>().data(), DeviceThreads(context), out[1]->flat<T>().data());
    out[0]->scalar<T>()() = static_cast<T>(result.loss);
    out[2]->scalar<double>()() = result.pairs;
  }
};

#define HVDREC_REGISTER(T)                                                          \
  REGISTER_KERNEL_BUILDER(                                                          \
      Name("HvdrecPairwiseBins").Device(tf::DEVICE_CPU).TypeConstraint<T>("T"),     \
      PairwiseBinsOp<T>);                                                           \
  REGISTER_KERNEL_BUILDER(                                                          \
      Name("HvdrecPairwiseMoments").Device(tf::DEVICE_CPU).TypeConstraint<T>("T"),  \
      PairwiseMomentsOp<T>);                                                        \
  REGISTER_KERNEL_BUILDER(                                                          \
      Name("HvdrecPairwiseOverBins").Device(tf::DEVICE_CPU).TypeConstraint<T>("T"), \
      PairwiseOverBinsOp<T>)
HVDREC_REGISTER(float);
HVDREC_REGISTER(double);
#undef HVDREC_REGISTER

}  // namespace hvdrec
