#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/layers/dense_layer.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/index_columns.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecClasses")
    .Input("index: int32")
    .Output("classes: int32")
    .Attr("first: int >= 0 = 0")
    .Attr("columns: int = -1")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle index;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &index));
      int64_t columns = -1;
      TF_RETURN_IF_ERROR(c->GetAttr("columns", &columns));
      const auto features = columns < 0 ? c->Dim(index, 1) : c->MakeDim(columns);
      c->set_output(0, c->Matrix(features, c->Dim(index, 0)));
      return absl::OkStatus();
    })
    .Doc(R"(
Numbers the distinct numbers of each column in the order of their first rows.

index: [B, S], at least 0.
classes: [F, B].
first: The first of the F columns that are read.
columns: Their number; -1 for all.
)");

REGISTER_OP("HvdrecDenseLayer")
    .Input("x: parts * float")
    .Input("kernel: float")
    .Input("bias: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Input("weights: float")
    .Input("classes: int32")
    .Output("y: float")
    .Output("mean: float")
    .Output("variance: float")
    .Output("linear: float")
    .Attr("parts: int >= 1")
    .Attr("multiplies: bool")
    .Attr("norm: bool")
    .Attr("relu: bool")
    .Attr("epsilon: float")
    .Attr("starts: list(int)")
    .Attr("widths: list(int)")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle x, kernel;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(c->num_inputs() - 6), 2, &kernel));
      const auto rows = c->Dim(x, 0);
      const auto width = c->Dim(kernel, 1);
      bool norm = false;
      TF_RETURN_IF_ERROR(c->GetAttr("norm", &norm));
      c->set_output(0, c->Matrix(rows, width));
      c->set_output(1, norm ? c->Vector(width) : c->Vector(0));
      c->set_output(2, norm ? c->Vector(width) : c->Vector(0));
      c->set_output(3, norm ? c->Matrix(rows, width) : c->Matrix(0, 0));
      return absl::OkStatus();
    })
    .Doc(R"(
relu(gamma * (linear - mean) / sqrt(variance + epsilon) + beta) with linear = x kernel + bias.

x: [B, I] from parts side by side, [B, width] each; one part without `multiplies` and where columns
  repeat.
kernel: [I, O]; without `multiplies` [0, O], and x [B, O] is the product already.
bias: [O].
gamma: [O] with `norm`, else empty.
beta: Likewise.
weights: [B], how often each row counts in mean and variance, or empty for once each.
classes: [F, B] of HvdrecClasses: rows of a class have equal columns, `widths` from `starts`.
y: [B, O].
mean: [O], of each column of `linear`; empty without `norm`, as the outputs below.
variance: [O], the population's.
linear: [B, O], kept for the gradient.
norm: Without it y is relu(linear).
relu: Without it y is what stands within.
)");

REGISTER_OP("HvdrecDenseLayerGrad")
    .Input("upstream: float")
    .Input("x: parts * float")
    .Input("kernel: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Input("y: float")
    .Input("mean: float")
    .Input("variance: float")
    .Input("linear: float")
    .Input("weights: float")
    .Input("classes: int32")
    .Output("x_gradient: parts * float")
    .Output("kernel_gradient: float")
    .Output("bias_gradient: float")
    .Output("gamma_gradient: float")
    .Output("beta_gradient: float")
    .Attr("parts: int >= 1")
    .Attr("multiplies: bool")
    .Attr("norm: bool")
    .Attr("relu: bool")
    .Attr("epsilon: float")
    .Attr("starts: list(int)")
    .Attr("widths: list(int)")
    .SetShapeFn([](InferenceContext* c) {
      const int parts = c->num_inputs() - 10;
      tf::shape_inference::ShapeHandle kernel;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(parts + 1), 2, &kernel));
      for (int i = 0; i < parts; ++i) c->set_output(i, c->input(i + 1));
      c->set_output(parts, kernel);
      c->set_output(parts + 1, c->Vector(c->Dim(kernel, 1)));
      c->set_output(parts + 2, c->input(parts + 2));
      c->set_output(parts + 3, c->input(parts + 2));
      return absl::OkStatus();
    })
    .Doc(R"(
Gradients of HvdrecDenseLayer from that of its y; its other outputs have none.

y: [B, O] without `norm`, else empty: it follows from `linear`.
)");

namespace {

const float* Data(const tf::Tensor& tensor, int64_t size, const char* name) {
  if (tensor.NumElements() != size) {
    throw std::invalid_argument(std::string(name) + " has " + std::to_string(tensor.NumElements()) +
                                " elements, not " + std::to_string(size));
  }
  return tensor.flat<float>().data();
}

// nullptr if it is empty.
const float* Optional(const tf::Tensor& tensor, int64_t size, const char* name) {
  return tensor.NumElements() == 0 ? nullptr : Data(tensor, size, name);
}

}  // namespace

class ClassesOp final : public DividedOp {
 public:
  explicit ClassesOp(tf::OpKernelConstruction* context) : DividedOp(context), range_(context) {}

  void Compute(tf::OpKernelContext* context) override {
    RunTraced(context, [&] {
      const IndexColumns index(context->input(0), range_);
      const int64_t rows = index.shape().dim_size(0), features = index.shape().dim_size(1);
      tf::Tensor* classes;
      OP_REQUIRES_OK(context, context->allocate_output(0, {features, rows}, &classes));
      NumberClasses(index.data(), rows, features, classes->flat<int32_t>().data());
    });
  }

 private:
  const ColumnRange range_;
};

// Common to both ops of the layer: the attributes and the shapes.
class DenseLayerBase : public tf::OpKernel {
 public:
  explicit DenseLayerBase(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("multiplies", &attributes_.multiplies));
    OP_REQUIRES_OK(context, context->GetAttr("norm", &attributes_.norm));
    OP_REQUIRES_OK(context, context->GetAttr("relu", &attributes_.relu));
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &attributes_.epsilon));
    OP_REQUIRES_OK(context, context->GetAttr("starts", &starts_));
    OP_REQUIRES_OK(context, context->GetAttr("widths", &widths_));
    OP_REQUIRES(
        context, starts_.size() == widths_.size() && (widths_.empty() || attributes_.multiplies),
        tf::errors::InvalidArgument("repeated columns need a width for each start, and a kernel"));
  }

  void Compute(tf::OpKernelContext* context) final {
    RunKernel(context, [&] { Run(context); });
  }

 protected:
  virtual void Run(tf::OpKernelContext* context) const = 0;

  DenseLayer Shaped(const tf::OpInputList& x, const tf::Tensor& kernel) const {
    DenseLayer layer = attributes_;
    for (const tf::Tensor& part : x) {
      if (part.dims() != 2 || part.dim_size(0) != x[0].dim_size(0)) {
        throw std::invalid_argument("parts of x " + x[0].shape().DebugString() + " and " +
                                    part.shape().DebugString() + " do not match");
      }
      layer.inputs += part.dim_size(1);
    }
    if (kernel.dims() != 2 || layer.inputs != kernel.dim_size(attributes_.multiplies ? 0 : 1)) {
      throw std::invalid_argument("x with " + std::to_string(layer.inputs) +
                                  " columns and kernel " + kernel.shape().DebugString() +
                                  " do not match");
    }
    if (x.size() > 1 && (!layer.multiplies || !starts_.empty())) {
      throw std::invalid_argument("an input in parts needs a kernel, and no columns that repeat");
    }
    layer.rows = x[0].dim_size(0);
    layer.outputs = kernel.dim_size(1);
    return layer;
  }

  DenseRows Rows(const DenseLayer& layer, const tf::OpInputList& x, const tf::Tensor& weights,
                 const tf::Tensor& classes) const {
    const auto features = static_cast<int64_t>(starts_.size());
    if (features > 0 && classes.shape() != tf::TensorShape({features, layer.rows})) {
      throw std::invalid_argument("classes have shape " + classes.shape().DebugString() +
                                  ", not [" + std::to_string(features) + "," +
                                  std::to_string(layer.rows) + "]");
    }
    DenseRows rows{{},
                   Optional(weights, layer.rows, "weights"),
                   {classes.flat<int32_t>().data(), features, starts_.data(), widths_.data()}};
    for (const tf::Tensor& part : x) {
      rows.x.push_back({part.flat<float>().data(), part.dim_size(1)});
    }
    return rows;
  }

 private:
  std::vector<int64_t> starts_;
  std::vector<int64_t> widths_;
  DenseLayer attributes_{};
};

class DenseLayerOp final : public DenseLayerBase {
 public:
  using DenseLayerBase::DenseLayerBase;

 private:
  void Run(tf::OpKernelContext* context) const override {
    tf::OpInputList x;
    OP_REQUIRES_OK(context, context->input_list("x", &x));
    const int after = x.size();
    const tf::Tensor& kernel = context->input(after);
    const DenseLayer layer = Shaped(x, kernel);
    const int64_t columns = layer.norm ? layer.outputs : 0;
    const DenseWeights weights{kernel.flat<float>().data(),
                               Data(context->input(after + 1), layer.outputs, "bias"),
                               Data(context->input(after + 2), columns, "gamma"),
                               Data(context->input(after + 3), columns, "beta")};
    const DenseRows rows = Rows(layer, x, context->input(after + 4), context->input(after + 5));
    tf::Tensor *y, *mean, *variance, *linear;
    OP_REQUIRES_OK(context, context->allocate_output(0, {layer.rows, layer.outputs}, &y));
    OP_REQUIRES_OK(context, context->allocate_output(1, {columns}, &mean));
    OP_REQUIRES_OK(context, context->allocate_output(2, {columns}, &variance));
    OP_REQUIRES_OK(context,
                   context->allocate_output(3, {layer.norm ? layer.rows : 0, columns}, &linear));
    DenseLayerForward(layer, rows, weights,
                      {y->flat<float>().data(), linear->flat<float>().data(),
                       mean->flat<float>().data(), variance->flat<float>().data()},
                      DeviceThreads(context));
  }
};

class DenseLayerGradOp final : public DenseLayerBase {
 public:
  using DenseLayerBase::DenseLayerBase;

 private:
  void Run(tf::OpKernelContext* context) const override {
    tf::OpInputList x;
    OP_REQUIRES_OK(context, context->input_list("x", &x));
    const int parts = x.size();
    const auto after = [&](int i) -> const tf::Tensor& { return context->input(1 + parts + i); };
    const tf::Tensor& kernel = after(0);
    const DenseLayer layer = Shaped(x, kernel);
    const int64_t columns = layer.norm ? layer.outputs : 0;
    const int64_t size = layer.rows * layer.outputs;
    const float* const upstream = Data(context->input(0), size, "upstream");
    const DenseWeights weights{kernel.flat<float>().data(), nullptr,
                               Data(after(1), columns, "gamma"), Data(after(2), columns, "beta")};
    const DenseKept kept{Data(after(3), layer.norm ? 0 : size, "y"),
                         Data(after(6), layer.rows * columns, "linear"),
                         Data(after(4), columns, "mean"), Data(after(5), columns, "variance")};
    const DenseRows rows = Rows(layer, x, after(7), after(8));
    Parts<float> x_gradient;
    for (int i = 0; i < parts; ++i) {
      tf::Tensor* part;
      OP_REQUIRES_OK(context, context->allocate_output(i, x[i].shape(), &part));
      x_gradient.push_back({part->flat<float>().data(), part->dim_size(1)});
    }
    float* out[4];
    const tf::TensorShape shapes[4] = {kernel.shape(), {layer.outputs}, {columns}, {columns}};
    for (int i = 0; i < 4; ++i) {
      tf::Tensor* tensor;
      OP_REQUIRES_OK(context, context->allocate_output(parts + i, shapes[i], &tensor));
      out[i] = tensor->flat<float>().data();
    }
    tf::Tensor scratch;  // in the memory of `upstream` where no other op needs that
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_temp(
                                {0}, tf::DT_FLOAT, {layer.multiplies ? size : 0}, {}, &scratch));
    DenseLayerBackward(layer, upstream, rows, weights, kept, scratch.flat<float>().data(),
                       {x_gradient, out[0], out[1], out[2], out[3]}, DeviceThreads(context));
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecClasses").Device(tf::DEVICE_CPU), ClassesOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecDenseLayer").Device(tf::DEVICE_CPU), DenseLayerOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecDenseLayerGrad").Device(tf::DEVICE_CPU), DenseLayerGradOp);

}  // namespace hvdrec
