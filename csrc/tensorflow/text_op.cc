#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/text/edit_distance.h"
#include "kernels/text/mapped_dot_product.h"
#include "kernels/text/normalize.h"
#include "kernels/text/overlap.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"

namespace hvdrec {
namespace tf = ::tensorflow;
namespace {

using tf::shape_inference::InferenceContext;

// Rows that one task compares: enough that starting it costs little.
constexpr int64_t kRows = 64;

std::string_view View(const tf::tstring& text) { return {text.data(), text.size()}; }

// Requires two vectors of texts of the same length.
tf::Status PairShape(InferenceContext* c) {
  tf::shape_inference::ShapeHandle one, other;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &one));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &other));
  return c->Merge(one, other, &one);
}

// The two texts of each row.
struct Pairs {
  explicit Pairs(tf::OpKernelContext* context)
      : one(context->input(0)), other(context->input(1)), rows(one.NumElements()) {
    if (one.dims() != 1 || !one.shape().IsSameSize(other.shape())) {
      throw std::invalid_argument("the texts must be two vectors of the same length");
    }
  }
  const tf::Tensor& one;
  const tf::Tensor& other;
  const int64_t rows;
};

}  // namespace

REGISTER_OP("HvdrecTextCells")
    .Input("words: int32")
    .Input("lengths: int32")
    .Output("texts: string")
    .SetShapeFn([](InferenceContext* c) {
      tf::shape_inference::ShapeHandle lengths;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &lengths));
      c->set_output(0, c->Matrix(c->Dim(lengths, 1), c->Dim(lengths, 0)));
      return tf::Status();
    })
    .Doc(R"(
The texts of a packed batch.

words: [N], the bytes of all texts, column by column, row by row, four in each word.
lengths: [B, T], the bytes of each text.
texts: [T, B].
)");

class TextCellsOp : public tf::OpKernel {
 public:
  using tf::OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& words = context->input(0);
      const tf::Tensor& lengths = context->input(1);
      if (lengths.dims() != 2) throw std::invalid_argument("lengths must be a matrix");
      const int64_t rows = lengths.dim_size(0), columns = lengths.dim_size(1);
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, {columns, rows}, &out));
      const auto length = lengths.matrix<int32_t>();
      auto texts = out->matrix<tf::tstring>();
      const auto* const bytes = reinterpret_cast<const char*>(words.flat<int32_t>().data());
      const int64_t size = words.NumElements() * static_cast<int64_t>(sizeof(int32_t));
      int64_t begin = 0;
      for (int64_t column = 0; column < columns; ++column) {
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t count = length(row, column);
          if (count < 0 || begin + count > size) {
            throw std::invalid_argument("lengths don't fit the words");
          }
          texts(column, row).assign(bytes + begin, static_cast<size_t>(count));
          begin += count;
        }
      }
    });
  }
};

REGISTER_OP("HvdrecEditDistance")
    .Input("one: string")
    .Input("other: string")
    .Output("distance: int32")
    .Attr("utf8: bool")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(PairShape(c));
      c->set_output(0, c->input(0));
      return tf::Status();
    })
    .Doc(R"(
Levenshtein's distance of the two texts of each row.

one: [B].
other: [B].
distance: [B].
utf8: Whether characters are code points; otherwise they are bytes.
)");

class EditDistanceOp : public tf::OpKernel {
 public:
  explicit EditDistanceOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("utf8", &utf8_));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const Pairs pairs(context);
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, pairs.one.shape(), &out));
      const auto one = pairs.one.vec<tf::tstring>(), other = pairs.other.vec<tf::tstring>();
      auto distance = out->vec<int32_t>();
      const DeviceThreads threads(context);
      ForChunks(threads, pairs.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
        EditDistance measure(utf8_);
        for (int64_t i = begin; i < end; ++i) distance(i) = measure(View(one(i)), View(other(i)));
      });
    });
  }

 private:
  bool utf8_ = true;
};

REGISTER_OP("HvdrecMappedDotProduct")
    .Input("query: string")
    .Input("document: string")
    .Output("product: float")
    .Attr("separator: string")
    .Attr("default_value: float")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(PairShape(c));
      c->set_output(0, c->input(0));
      return tf::Status();
    })
    .Doc(R"(
The dot product of two sparse vectors written as texts.

query: [B], such as "a:0.5|b:2"; an entry without a value has 1.
document: [B].
product: [B].
separator: Between entries.
default_value: The product where a text has no entry.
)");

class MappedDotProductOp : public tf::OpKernel {
 public:
  explicit MappedDotProductOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("separator", &separator_));
    OP_REQUIRES_OK(context, context->GetAttr("default_value", &otherwise_));
    OP_REQUIRES(context, !separator_.empty(),
                tf::errors::InvalidArgument("separator must not be empty"));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const Pairs pairs(context);
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, pairs.one.shape(), &out));
      const auto one = pairs.one.vec<tf::tstring>(), other = pairs.other.vec<tf::tstring>();
      auto product = out->vec<float>();
      const DeviceThreads threads(context);
      ForChunks(threads, pairs.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
        MappedDotProduct multiply(separator_, otherwise_);
        for (int64_t i = begin; i < end; ++i) product(i) = multiply(View(one(i)), View(other(i)));
      });
    });
  }

 private:
  std::string separator_;
  float otherwise_ = 0.0f;
};

REGISTER_OP("HvdrecOverlap")
    .Input("query: string")
    .Input("title: string")
    .Output("found: float")
    .Attr("separator: string")
    .Attr("default_value: float")
    .Attr("methods: list(string) >= 1")
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(PairShape(c));
      std::vector<std::string> methods;
      TF_RETURN_IF_ERROR(c->GetAttr("methods", &methods));
      c->set_output(0, c->Matrix(c->Dim(c->input(0), 0), static_cast<int64_t>(methods.size())));
      return tf::Status();
    })
    .Doc(R"(
What the terms of two texts have in common; kernels/text/overlap.h has the methods.

query: [B].
title: [B].
found: [B, methods].
separator: Between terms.
default_value: The result of all methods where a text has no term.
methods: Their names.
)");

class OverlapOp : public tf::OpKernel {
 public:
  explicit OverlapOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    std::vector<std::string> names;
    OP_REQUIRES_OK(context, context->GetAttr("separator", &separator_));
    OP_REQUIRES_OK(context, context->GetAttr("default_value", &otherwise_));
    OP_REQUIRES_OK(context, context->GetAttr("methods", &names));
    OP_REQUIRES(context, !separator_.empty(),
                tf::errors::InvalidArgument("separator must not be empty"));
    try {
      for (const std::string& name : names) methods_.push_back(ParseOverlapMethod(name));
    } catch (const std::invalid_argument& error) {
      context->CtxFailure(tf::errors::InvalidArgument(error.what()));
    }
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const Pairs pairs(context);
      const auto count = static_cast<int64_t>(methods_.size());
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, {pairs.rows, count}, &out));
      const auto one = pairs.one.vec<tf::tstring>(), other = pairs.other.vec<tf::tstring>();
      float* const found = out->flat<float>().data();
      const DeviceThreads threads(context);
      ForChunks(threads, pairs.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
        Overlap compare(separator_, otherwise_, methods_);
        for (int64_t i = begin; i < end; ++i) {
          compare(View(one(i)), View(other(i)), found + i * count);
        }
      });
    });
  }

 private:
  std::string separator_;
  float otherwise_ = 0.0f;
  std::vector<OverlapMethod> methods_;
};

REGISTER_OP("HvdrecTextNormalize")
    .Input("texts: string")
    .Input("table: int32")
    .Output("normalized: string")
    .Attr("remove_others: bool")
    .Attr("split: bool")
    .SetShapeFn(tf::shape_inference::UnchangedShape)
    .Doc(R"(
Replaces the characters of texts.

texts: UTF-8, of any shape.
table: [N], what each code point below N becomes; -1 removes it.
normalized: Of the shape of `texts`.
remove_others: Whether code points from N on are removed; otherwise they stay.
split: Whether a space is put between a Chinese character and its neighbours.
)");

class TextNormalizeOp : public tf::OpKernel {
 public:
  explicit TextNormalizeOp(tf::OpKernelConstruction* context) : tf::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("remove_others", &remove_others_));
    OP_REQUIRES_OK(context, context->GetAttr("split", &split_));
  }

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      const tf::Tensor& input = context->input(0);
      const auto table = context->input(1).flat<int32_t>();
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &out));
      const auto texts = input.flat<tf::tstring>();
      auto normalized = out->flat<tf::tstring>();
      const DeviceThreads threads(context);
      ForChunks(threads, texts.size(), kRows, [&](int64_t, int64_t begin, int64_t end) {
        NormalizeText normalize(table.data(), table.size(), remove_others_, split_);
        std::string text;
        for (int64_t i = begin; i < end; ++i) {
          normalize(View(texts(i)), &text);
          normalized(i).assign(text.data(), text.size());
        }
      });
    });
  }

 private:
  bool remove_others_ = false;
  bool split_ = false;
};

REGISTER_KERNEL_BUILDER(Name("HvdrecTextCells").Device(tf::DEVICE_CPU), TextCellsOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecEditDistance").Device(tf::DEVICE_CPU), EditDistanceOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecMappedDotProduct").Device(tf::DEVICE_CPU), MappedDotProductOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecOverlap").Device(tf::DEVICE_CPU), OverlapOp);
REGISTER_KERNEL_BUILDER(Name("HvdrecTextNormalize").Device(tf::DEVICE_CPU), TextNormalizeOp);

}  // namespace hvdrec
