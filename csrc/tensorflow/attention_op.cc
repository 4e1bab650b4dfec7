#include <stdexcept>
#include <string>

#include "kernels/layers/attention.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace hvdrec {
namespace tf = ::tensorflow;
using tf::shape_inference::InferenceContext;

REGISTER_OP("HvdrecAttentionProduct")
    .Input("query: float")
    .Input("values: float")
    .Input("lengths: int32")
    .Input("padding: float")
    .Input("kernel: float")
    .Output("linear: float")
    .Attr("padded: bool")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle kernel;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 2, &kernel));
      c->set_output(0, c->Matrix(InferenceContext::kUnknownDim, c->Dim(kernel, 1)));
      return absl::OkStatus();
    })
    .Doc(R"(
[q, h, q - h, q * h] kernel for each element h of the histories and the query q of its row.

query: [B, D].
values: [E, D], the elements of all rows, in the order of the rows.
lengths: [B], the number of each row's elements; their sum is E.
padding: [D], the value of a padded position, or empty for zeros.
kernel: [4 D, O].
linear: [E, O], with `padded` [E + B, O].
padded: Whether a padded position of each row follows the elements.
)");

REGISTER_OP("HvdrecAttentionProductGrad")
    .Input("upstream: float")
    .Input("query: float")
    .Input("values: float")
    .Input("lengths: int32")
    .Input("padding: float")
    .Input("kernel: float")
    .Output("query_gradient: float")
    .Output("values_gradient: float")
    .Output("padding_gradient: float")
    .Output("kernel_gradient: float")
    .Attr("padded: bool")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(1));
      c->set_output(1, c->input(2));
      c->set_output(2, c->input(4));
      c->set_output(3, c->input(5));
      return absl::OkStatus();
    })
    .Doc("Gradients of HvdrecAttentionProduct.");

REGISTER_OP("HvdrecAttend")
    .Input("scores: float")
    .Input("values: float")
    .Input("lengths: int32")
    .Output("attended: float")
    .Output("shares: float")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle values, lengths;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &values));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &lengths));
      c->set_output(0, c->Matrix(c->Dim(lengths, 0), c->Dim(values, 1)));
      c->set_output(1, c->input(0));
      return absl::OkStatus();
    })
    .Doc(R"(
The sum of each row's elements, weighted by the softmax of their scores.

scores: [E].
values: [E, D], the elements of all rows, in the order of the rows.
lengths: [B], the number of each row's elements; their sum is E.
attended: [B, D]; zeros for a row without elements.
shares: [E], the softmax.
)");

REGISTER_OP("HvdrecAttendGrad")
    .Input("attended_upstream: float")
    .Input("shares_upstream: float")
    .Input("shares: float")
    .Input("values: float")
    .Input("lengths: int32")
    .Output("scores_gradient: float")
    .Output("values_gradient: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(2));
      c->set_output(1, c->input(3));
      return absl::OkStatus();
    })
    .Doc("Gradients of HvdrecAttend.");

namespace {

void Expect(const tf::Tensor& tensor, const tf::TensorShape& shape, const char* name) {
  if (tensor.shape() == shape) return;
  throw std::invalid_argument(std::string(name) + " is " + tensor.shape().DebugString() + ", not " +
                              shape.DebugString());
}

const float* Data(const tf::Tensor& tensor) { return tensor.flat<float>().data(); }
float* Data(tf::Tensor* tensor) { return tensor->flat<float>().data(); }

Histories Lengths(const tf::Tensor& lengths, const tf::Tensor& values) {
  if (values.dims() != 2 || lengths.dims() != 1) {
    throw std::invalid_argument("values " + values.shape().DebugString() + " and lengths " +
                                lengths.shape().DebugString() + " don't have 2 axes and 1");
  }
  return {lengths.dim_size(0), values.dim_size(0), lengths.flat<int32_t>().data()};
}

}  // namespace

// Common to the product and its gradient: the attribute and the inputs.
class AttentionProductBase : public tf::OpKernel {
 public:
  explicit AttentionProductBase(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("padded", &padded_));
  }

  void Compute(tf::OpKernelContext* context) final {
    RunKernel(context, [&] { Run(context); });
  }

 protected:
  virtual void Run(tf::OpKernelContext* context) const = 0;

  // From the five inputs that begin with the query.
  AttentionProduct Read(tf::OpKernelContext* context, int first) const {
    const tf::Tensor& query = context->input(first);
    const tf::Tensor& values = context->input(first + 1);
    const tf::Tensor& padding = context->input(first + 3);
    const tf::Tensor& kernel = context->input(first + 4);
    const Histories histories = Lengths(context->input(first + 2), values);
    const int64_t width = values.dim_size(1);
    const int64_t outputs = kernel.dims() == 2 ? kernel.dim_size(1) : 0;
    Expect(query, {histories.rows, width}, "query");
    Expect(kernel, {4 * width, outputs}, "kernel");
    if (padding.NumElements() > 0) Expect(padding, {width}, "padding");
    return {histories,
            width,
            outputs,
            padded_,
            Data(query),
            Data(values),
            padding.NumElements() > 0 ? Data(padding) : nullptr,
            Data(kernel)};
  }

  static tf::TensorShape Linear(const AttentionProduct& product) {
    const Histories& histories = product.histories;
    return {histories.elements + (product.padded ? histories.rows : 0), product.outputs};
  }

 private:
  bool padded_ = false;
};

class AttentionProductOp final : public AttentionProductBase {
 public:
  using AttentionProductBase::AttentionProductBase;

 private:
  void Run(tf::OpKernelContext* context) const override {
    const AttentionProduct product = Read(context, 0);
    tf::Tensor* linear = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, Linear(product), &linear));
    AttentionProductForward(product, Data(linear), DeviceThreads(context));
  }
};

class AttentionProductGradOp final : public AttentionProductBase {
 public:
  using AttentionProductBase::AttentionProductBase;

 private:
  void Run(tf::OpKernelContext* context) const override {
    const AttentionProduct product = Read(context, 1);
    Expect(context->input(0), Linear(product), "upstream");
    tf::Tensor* out[4];
    const int inputs[4] = {1, 2, 4, 5};
    for (int i = 0; i < 4; ++i) {
      const tf::TensorShape& shape = context->input(inputs[i]).shape();
      OP_REQUIRES_OK(context, context->allocate_output(i, shape, &out[i]));
    }
    AttentionProductBackward(product, Data(context->input(0)),
                             {Data(out[0]), Data(out[1]), Data(out[2]), Data(out[3])},
                             DeviceThreads(context));
  }
};

class AttendOp final : public tf::OpKernel {
 public:
  using tf::OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& scores = context->input(0);
      const tf::Tensor& values = context->input(1);
      const Histories histories = Lengths(context->input(2), values);
      Expect(scores, {histories.elements}, "scores");
      const int64_t width = values.dim_size(1);
      tf::Tensor *attended, *shares;
      OP_REQUIRES_OK(context, context->allocate_output(0, {histories.rows, width}, &attended));
      OP_REQUIRES_OK(context, context->allocate_output(1, scores.shape(), &shares));
      AttendForward(histories, width, Data(scores), Data(values), Data(attended), Data(shares),
                    DeviceThreads(context));
    });
  }
};

class AttendGradOp final : public tf::OpKernel {
 public:
  using tf::OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& shares = context->input(2);
      const tf::Tensor& values = context->input(3);
      const Histories histories = Lengths(context->input(4), values);
      const int64_t width = values.dim_size(1);
      Expect(context->input(0), {histories.rows, width}, "attended_upstream");
      Expect(context->input(1), {histories.elements}, "shares_upstream");
      Expect(shares, {histories.elements}, "shares");
      tf::Tensor *by_scores, *by_values;
      OP_REQUIRES_OK(context, context->allocate_output(0, shares.shape(), &by_scores));
      OP_REQUIRES_OK(context, context->allocate_output(1, values.shape(), &by_values));
      AttendBackward(histories, width, Data(shares), Data(values), Data(context->input(0)),
                     Data(context->input(1)), Data(by_scores), Data(by_values),
                     DeviceThreads(context));
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecAttentionProduct").Device(tf::DEVICE_CPU), AttentionProductOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecAttentionProductGrad").Device(tf::DEVICE_CPU),
                        AttentionProductGradOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecAttend").Device(tf::DEVICE_CPU), AttendOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecAttendGrad").Device(tf::DEVICE_CPU), AttendGradOp);

}  // namespace hvdrec
