#include "kernels/similarity/circle.h"
#include "kernels/similarity/in_batch_softmax.h"
#include "kernels/similarity/multi_similarity.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

#ifdef HVDREC_CUDA
#include "kernels/gpu/gpu_losses.h"
#include "tensorflow/gpu_adapter.h"
#endif

namespace hvdrec {
namespace tf = ::tensorflow;

namespace {

using tf::shape_inference::DimensionHandle;
using tf::shape_inference::InferenceContext;
using tf::shape_inference::ShapeHandle;

tf::Status GradientShape(InferenceContext* c, int output, ShapeHandle of) {
  bool wanted = false;
  TF_RETURN_IF_ERROR(c->GetAttr("with_gradient", &wanted));
  c->set_output(output, wanted ? of : c->Matrix(0, 0));
  return tf::OkStatus();
}

tf::Status SimilarityShape(InferenceContext* c) {
  ShapeHandle embeddings, labels, sessions, anchors;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &embeddings));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &labels));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &sessions));
  TF_RETURN_IF_ERROR(c->Merge(c->input(3), c->Vector(2), &anchors));
  DimensionHandle rows;
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(embeddings, 0), c->Dim(labels, 0), &rows));
  c->set_output(0, c->Scalar());
  return GradientShape(c, 1, embeddings);
}

tf::Status SoftmaxShape(InferenceContext* c) {
  ShapeHandle queries, items, vector;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &queries));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &items));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &vector));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3), 1, &vector));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 1, &vector));
  DimensionHandle dim;
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(queries, 1), c->Dim(items, 1), &dim));
  c->set_output(0, c->Scalar());
  TF_RETURN_IF_ERROR(GradientShape(c, 1, queries));
  return GradientShape(c, 2, items);
}

// The output's values, or null where it isn't wanted (and is empty).
template <typename T>
T* Gradient(tf::OpKernelContext* context, int output, bool wanted, const tf::TensorShape& shape) {
  tf::Tensor* tensor = nullptr;
  const tf::Status status =
      context->allocate_output(output, wanted ? shape : tf::TensorShape({0, 0}), &tensor);
  if (!status.ok()) {
    context->CtxFailure(status);
    return nullptr;
  }
  return wanted ? tensor->flat<T>().data() : nullptr;
}

void SetLoss(tf::OpKernelContext* context, tf::DataType type, double loss) {
  tf::Tensor* out = nullptr;
  OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
  if (type == tf::DT_DOUBLE) {
    out->scalar<double>()() = loss;
  } else {
    out->scalar<float>()() = static_cast<float>(loss);
  }
}

// The values of a vector of `rows`, or null where it is empty and so left out.
template <typename T>
const T* OptionalVector(tf::OpKernelContext* context, int input, int64_t rows, const char* name) {
  const tf::Tensor& tensor = context->input(input);
  if (tensor.NumElements() == 0) return nullptr;
  if (tensor.dims() != 1 || tensor.dim_size(0) != rows) {
    throw std::invalid_argument(std::string(name) + ": needs one value for each of " +
                                std::to_string(rows) + " rows, has shape " +
                                tensor.shape().DebugString());
  }
  return tensor.flat<T>().data();
}

constexpr char kSimilarityDoc[] = R"(
embeddings: [N, D]; a row that isn't finite makes loss and gradient NaN.
labels: [N]; rows of one label and one session are positives of each other.
sessions: [N], or empty where all rows are one session.
anchors: [2], the first row that acts as anchor and the number of such rows.
loss: Scalar, the sum over the anchors divided by N.
gradient: [N, D], the derivative of the loss by the embeddings; empty unless with_gradient.
)";

}  // namespace

#define HVDREC_SIMILARITY_OP(name, summary) \
  REGISTER_OP(name)                         \
      .Input("embeddings: T")               \
      .Input("labels: int64")               \
      .Input("sessions: int64")             \
      .Input("anchors: int64")              \
      .Output("loss: T")                    \
      .Output("gradient: T")                \
      .Attr("with_gradient: bool = true")   \
      .Attr("T: {float, double}")           \
      .SetShapeFn(SimilarityShape)          \
      .Doc(std::string("\n") + summary + kSimilarityDoc)

HVDREC_SIMILARITY_OP(
    "HvdrecCircleLoss",
    "Circle loss over all pairs of rows (Sun et al., 2020), without a matrix of all pairs.")
    .Attr("margin: float")
    .Attr("gamma: float");

HVDREC_SIMILARITY_OP("HvdrecMultiSimilarityLoss",
                     "Multi-similarity loss over all pairs of rows (Wang et al., 2019), without a "
                     "matrix of all pairs.")
    .Attr("alpha: float")
    .Attr("beta: float")
    .Attr("lamb: float")
    .Attr("mining: bool")
    .Attr("eps: float");

REGISTER_OP("HvdrecInBatchSoftmax")
    .Input("queries: T")
    .Input("items: T")
    .Input("item_ids: int64")
    .Input("weights: T")
    .Input("owners: int64")
    .Output("loss: T")
    .Output("query_gradient: T")
    .Output("item_gradient: T")
    .Attr("temperature: float")
    .Attr("with_gradient: bool = true")
    .Attr("T: {float, double}")
    .SetShapeFn(SoftmaxShape)
    .Doc(R"(
Softmax cross entropy of each query's item against all items, without a matrix of all pairs.

queries: [N, D]; a row that isn't finite makes loss and gradients NaN.
items: [M, D] with M >= N: item i is query i's, all others are its negatives.
item_ids: [K], N <= K <= M - O, or empty; of the first K items those of one id are no negatives of each other.
weights: [N] weights of the queries, or empty for 1.
owners: [O]; the last O items are negatives of these queries alone.
loss: Scalar, the weighted mean.
query_gradient: [N, D]; empty unless with_gradient.
item_gradient: [M, D]; empty unless with_gradient.
)");

// `Device`, here and below: what the kernel runs on, made of the op's context.
template <typename T, typename Device>
class SimilarityOp : public tf::OpKernel {
 public:
  explicit SimilarityOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("with_gradient", &with_gradient_));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& embeddings = context->input(0);
      OP_REQUIRES(
          context, embeddings.dims() == 2 && embeddings.dim_size(1) > 0,
          tf::errors::InvalidArgument("embeddings: needs shape [rows, dim] with a dim above "
                                      "0, has ",
                                      embeddings.shape().DebugString()));
      const int64_t rows = embeddings.dim_size(0);
      OP_REQUIRES(context, context->input(3).NumElements() == 2,
                  tf::errors::InvalidArgument("anchors: needs 2 values"));
      const auto anchors = context->input(3).flat<tf::int64>();
      const SimilarityBatch<T> batch{
          embeddings.flat<T>().data(),
          reinterpret_cast<const int64_t*>(OptionalVector<tf::int64>(context, 1, rows, "labels")),
          reinterpret_cast<const int64_t*>(OptionalVector<tf::int64>(context, 2, rows, "sessions")),
          rows,
          embeddings.dim_size(1),
          anchors(0),
          anchors(1)};
      OP_REQUIRES(context, rows == 0 || batch.labels != nullptr,
                  tf::errors::InvalidArgument("labels: must not be empty"));
      OP_REQUIRES(context,
                  batch.first_anchor >= 0 && batch.first_anchor <= rows && batch.anchors >= 0 &&
                      batch.anchors <= rows - batch.first_anchor,
                  tf::errors::InvalidArgument("anchors: out of range"));
      T* const gradient = Gradient<T>(context, 1, with_gradient_, embeddings.shape());
      if (!context->status().ok()) return;
      SetLoss(context, this->output_type(0), Loss(batch, Device(context), gradient).loss);
    });
  }

 protected:
  virtual SimilarityResult Loss(const SimilarityBatch<T>& batch, const Device& device,
                                T* gradient) const = 0;

 private:
  bool with_gradient_ = true;
};

// The attribute of that name.
inline double Number(tf::OpKernelConstruction* context, const char* name) {
  float value = 0;
  const tf::Status status = context->GetAttr(name, &value);
  if (!status.ok()) context->CtxFailure(status);
  return value;
}

template <typename T, typename Device>
class CircleLossOp final : public SimilarityOp<T, Device> {
 public:
  explicit CircleLossOp(tf::OpKernelConstruction* context)
      : SimilarityOp<T, Device>(context),
        options_{Number(context, "margin"), Number(context, "gamma")} {}

 private:
  SimilarityResult Loss(const SimilarityBatch<T>& batch, const Device& device,
                        T* gradient) const override {
    return CircleLoss(batch, options_, device, gradient);
  }

  const CircleOptions options_;
};

template <typename T, typename Device>
class MultiSimilarityLossOp final : public SimilarityOp<T, Device> {
 public:
  explicit MultiSimilarityLossOp(tf::OpKernelConstruction* context)
      : SimilarityOp<T, Device>(context),
        options_{Number(context, "alpha"), Number(context, "beta"), Number(context, "lamb"), false,
                 Number(context, "eps")} {
    OP_REQUIRES_OK(context, context->GetAttr("mining", &options_.mining));
    OP_REQUIRES(context, options_.alpha > 0 && options_.beta > 0,
                tf::errors::InvalidArgument("alpha, beta: must be above 0"));
  }

 private:
  SimilarityResult Loss(const SimilarityBatch<T>& batch, const Device& device,
                        T* gradient) const override {
    return MultiSimilarityLoss(batch, options_, device, gradient);
  }

  MultiSimilarityOptions options_;
};

template <typename T, typename Device>
class InBatchSoftmaxOp final : public tf::OpKernel {
 public:
  explicit InBatchSoftmaxOp(tf::OpKernelConstruction* context)
      : tf::OpKernel(context), temperature_(Number(context, "temperature")) {
    OP_REQUIRES_OK(context, context->GetAttr("with_gradient", &with_gradient_));
    OP_REQUIRES(context, temperature_ > 0,
                tf::errors::InvalidArgument("temperature: must be above 0"));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor &queries = context->input(0), &items = context->input(1);
      OP_REQUIRES(context,
                  queries.dims() == 2 && items.dims() == 2 && queries.dim_size(1) > 0 &&
                      queries.dim_size(1) == items.dim_size(1),
                  tf::errors::InvalidArgument("queries, items: need shapes [N, dim] and [M, dim]"));
      OP_REQUIRES(context, items.dim_size(0) >= queries.dim_size(0),
                  tf::errors::InvalidArgument("items: needs a row for each query"));
      const int64_t rows = queries.dim_size(0), columns = items.dim_size(0);
      const int64_t identified = context->input(2).NumElements();
      const int64_t owned = context->input(4).NumElements();
      OP_REQUIRES(context, rows + owned <= columns,
                  tf::errors::InvalidArgument("owners: more than there are items besides the ",
                                              "queries' own"));
      OP_REQUIRES(context, identified == 0 || (rows <= identified && identified <= columns - owned),
                  tf::errors::InvalidArgument("item_ids: needs one id for each of the first items, "
                                              "at least ",
                                              rows, " and at most ", columns - owned, ", has ",
                                              identified));
      const SoftmaxBatch<T> batch{
          queries.flat<T>().data(),
          items.flat<T>().data(),
          reinterpret_cast<const int64_t*>(
              OptionalVector<tf::int64>(context, 2, identified, "item_ids")),
          OptionalVector<T>(context, 3, rows, "weights"),
          rows,
          columns,
          queries.dim_size(1),
          temperature_,
          identified > 0 ? identified : -1,
          reinterpret_cast<const int64_t*>(OptionalVector<tf::int64>(context, 4, owned, "owners")),
          owned};
      T* const query_gradient = Gradient<T>(context, 1, with_gradient_, queries.shape());
      T* const item_gradient = Gradient<T>(context, 2, with_gradient_, items.shape());
      if (!context->status().ok()) return;
      SetLoss(context, this->output_type(0),
              InBatchSoftmax(batch, Device(context), query_gradient, item_gradient).loss);
    });
  }

 private:
  const double temperature_;
  bool with_gradient_ = true;
};

#define HVDREC_REGISTER_CPU(name, kernel)                                                \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tf::DEVICE_CPU).TypeConstraint<float>("T"),  \
                          kernel<float, DeviceThreads>);                                 \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tf::DEVICE_CPU).TypeConstraint<double>("T"), \
                          kernel<double, DeviceThreads>)

HVDREC_REGISTER_CPU("HvdrecCircleLoss", CircleLossOp);
HVDREC_REGISTER_CPU("HvdrecMultiSimilarityLoss", MultiSimilarityLossOp);
HVDREC_REGISTER_CPU("HvdrecInBatchSoftmax", InBatchSoftmaxOp);

#ifdef HVDREC_CUDA
#define HVDREC_REGISTER_GPU(name, kernel, T, more)                                      \
  REGISTER_KERNEL_BUILDER(                                                              \
      Name(name).Device(tf::DEVICE_GPU).TypeConstraint<T>("T").HostMemory("loss") more, \
      kernel<T, DeviceGpu>)

HVDREC_REGISTER_GPU("HvdrecCircleLoss", CircleLossOp, float, .HostMemory("anchors"));
HVDREC_REGISTER_GPU("HvdrecCircleLoss", CircleLossOp, double, .HostMemory("anchors"));
HVDREC_REGISTER_GPU("HvdrecMultiSimilarityLoss", MultiSimilarityLossOp, float,
                    .HostMemory("anchors"));
HVDREC_REGISTER_GPU("HvdrecMultiSimilarityLoss", MultiSimilarityLossOp, double,
                    .HostMemory("anchors"));
HVDREC_REGISTER_GPU("HvdrecInBatchSoftmax", InBatchSoftmaxOp, float, );
HVDREC_REGISTER_GPU("HvdrecInBatchSoftmax", InBatchSoftmaxOp, double, );
#endif

}  // namespace hvdrec
