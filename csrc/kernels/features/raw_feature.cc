// RawFeature: numbers unchanged, in buckets, or as coefficients of learned vectors.

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels/features/boundaries.h"
#include "kernels/features/elements.h"
#include "kernels/features/feature.h"

namespace hvdrec {
namespace {

// Normalises `count` numbers in place.
using Normalizer = void (*)(float*, size_t);

template <float (*function)(float)>
void Each(float* x, size_t count) {
  for (size_t i = 0; i < count; ++i) x[i] = function(x[i]);
}

float Log(float x) { return std::log(x); }
// In double precision where that is accurate: several times faster than the C library's log1pf.
float Log1p(float x) {
  return std::fabs(x) > 1e-4f ? static_cast<float>(std::log(1.0 + static_cast<double>(x)))
                              : std::log1p(x);
}
float Sqrt(float x) { return std::sqrt(x); }
float Square(float x) { return x * x; }
float Abs(float x) { return std::fabs(x); }
float Exp(float x) { return std::exp(x); }
float Expm1(float x) { return std::expm1(x); }
float Tanh(float x) { return std::tanh(x); }
float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
float Sign(float x) { return static_cast<float>((x > 0) - (x < 0)); }

Normalizer FindNormalizer(const std::string& name) {
  if (name.empty() || name == "identity") return nullptr;
  if (name == "log") return Each<Log>;
  if (name == "log1p") return Each<Log1p>;
  if (name == "sqrt") return Each<Sqrt>;
  if (name == "square") return Each<Square>;
  if (name == "abs") return Each<Abs>;
  if (name == "exp") return Each<Exp>;
  if (name == "expm1") return Each<Expm1>;
  if (name == "tanh") return Each<Tanh>;
  if (name == "sigmoid") return Each<Sigmoid>;
  if (name == "sign") return Each<Sign>;
  throw std::invalid_argument("no normalizer is named " + name);
}

// Reads `dim` numbers of each row and normalises them.
class Reader {
 public:
  explicit Reader(const FeatureSpec& spec)
      : field_(spec.inputs[0]),
        dim_(spec.dim),
        separator_(spec.separator),
        parts_(spec.inner_separator),
        pool_(spec.pool),
        scaled_(spec.high > spec.low),
        low_(static_cast<float>(spec.low)),
        span_(static_cast<float>(spec.high - spec.low)),
        normalizer_(FindNormalizer(spec.normalizer)),
        normalizer_name_(spec.normalizer) {}

  int dim() const { return dim_; }

  // Writes the numbers of all rows consecutively.
  void Read(ArrowCells* cells, float* out) {
    const Column& column = cells->column(field_);
    if (pool_ != Pool::kNone) {
      for (int64_t row = 0; row < cells->rows(); ++row) {
        ReadPooled(cells, column, row, out + row * dim_);
      }
    } else if (dim_ == 1 && column.storage() != Column::Storage::kList) {
      cells->EachNumber(field_, [out](int64_t row, double x) { out[row] = static_cast<float>(x); });
    } else {
      for (int64_t row = 0; row < cells->rows(); ++row) ReadRow(cells, row, out + row * dim_);
    }
    const auto count = static_cast<size_t>(cells->rows() * dim_);
    RequireFinite(cells, column.field(), out, count, dim_);
    if (scaled_) {
      for (size_t i = 0; i < count; ++i) out[i] = (out[i] - low_) / span_;
    }
    if (normalizer_ != nullptr) normalizer_(out, count);
  }

  // Reports rows whose numbers are no longer finite after normalisation; `infinite` allows infinite
  // ones.
  void RequireFiniteResults(ArrowCells* cells, const float* values, bool infinite = false) const {
    if (normalizer_ == nullptr && !scaled_) return;
    RequireFinite(cells, cells->column(field_).field(), values,
                  static_cast<size_t>(cells->rows() * dim_), dim_,
                  normalizer_ == nullptr ? "after scaling by min_val and max_val"
                                         : "after normalizer_fn " + normalizer_name_,
                  infinite);
  }

 private:
  // Vectors pooled into one, number by number; without any it is 0.
  void ReadPooled(ArrowCells* cells, const Column& column, int64_t row, float* out) {
    std::fill(out, out + dim_, 0.0f);
    const Field number{column.field().name, FieldType::kDouble, ""};
    int parts = 0;
    const auto part = [&](std::string_view text) {
      int k = 0;
      // One number isn't split.
      ForEachToken(text, dim_ > 1 ? std::string_view(separator_) : std::string_view(),
                   [&](std::string_view token) {
                     if (k < dim_) {
                       Add(static_cast<float>(cells->ParseNumber(token, number, row)), parts == 0,
                           &out[k]);
                     }
                     ++k;
                   });
      if (k != dim_) {
        cells->Bad(row, column.field(),
                   "found " + std::to_string(k) + " numbers, but raw_input_dim is " +
                       std::to_string(dim_));
      }
      ++parts;
    };
    if (column.HasList(row)) {
      ForEachListValue(cells, column, row, false, &scratch_, part);
    } else {
      ForEachToken(cells->Text(field_, row, &scratch_, 9), parts_, part);
    }
    if (pool_ == Pool::kMean && parts > 0) {
      for (int k = 0; k < dim_; ++k) out[k] /= static_cast<float>(parts);
    }
  }

  void Add(float x, bool first, float* out) const {
    if (first) {
      *out = x;
    } else if (pool_ == Pool::kMin || pool_ == Pool::kMax) {
      *out = pool_ == Pool::kMin ? std::min(*out, x) : std::max(*out, x);
    } else {
      *out += x;
    }
  }

  // Numbers missing at the end are 0.
  void ReadRow(ArrowCells* cells, int64_t row, float* out) const {
    std::fill(out, out + dim_, 0.0f);
    int64_t found = 0;
    ForEachNumber(cells, field_, row, separator_, [&](double number) {
      if (found < dim_) out[found] = static_cast<float>(number);
      ++found;
    });
    if (found > dim_) {
      cells->Bad(row, cells->column(field_).field(),
                 "found " + std::to_string(found) + " numbers, but raw_input_dim is " +
                     std::to_string(dim_));
    }
  }

  const int field_;
  const int dim_;
  const std::string separator_;
  const std::string parts_;
  const Pool pool_;
  const bool scaled_;
  const float low_;
  const float span_;
  const Normalizer normalizer_;
  const std::string normalizer_name_;
  std::string scratch_;
};

class Raw : public NumberFeature {
 public:
  explicit Raw(const FeatureSpec& spec) : reader_(spec) {}
  int dim() const override { return reader_.dim(); }
  void Run(ArrowCells* cells, float* out, int64_t stride) override {
    const int dim = reader_.dim();
    values_.resize(static_cast<size_t>(cells->rows() * dim));
    reader_.Read(cells, values_.data());
    reader_.RequireFiniteResults(cells, values_.data());
    const float* from = values_.data();
    for (int64_t row = 0; row < cells->rows(); ++row, from += dim) {
      std::copy(from, from + dim, out + row * stride);
    }
  }

 private:
  Reader reader_;
  std::vector<float> values_;
};

// Number k of a vector has its own buckets after those of number k - 1
// (tf.feature_column.bucketized_column).
class Bucket : public IdFeature {
 public:
  explicit Bucket(const FeatureSpec& spec) : reader_(spec), boundaries_(spec.boundaries) {}

  IdShape shape() const override { return reader_.dim() > 1 ? IdShape::kPooled : IdShape::kSingle; }

  void Run(ArrowCells* cells, IdValues* out) override {
    const int dim = reader_.dim();
    values_.resize(static_cast<size_t>(cells->rows() * dim));
    reader_.Read(cells, values_.data());
    // An infinite number is in the bucket below or above all boundaries.
    reader_.RequireFiniteResults(cells, values_.data(), true);
    out->ids.resize(values_.size());
    for (size_t i = 0; i < values_.size(); ++i) out->ids[i] = boundaries_.Find(values_[i]);
    if (dim == 1) return;
    for (int64_t row = 0; row < cells->rows(); ++row) {
      for (int k = 0; k < dim; ++k) {
        out->ids[static_cast<size_t>(row * dim + k)] += k * boundaries_.buckets();
      }
      out->ends.push_back((row + 1) * dim);
    }
    out->weights.assign(out->ids.size(), 1.0f);
  }

 private:
  Reader reader_;
  const Boundaries boundaries_;
  std::vector<float> values_;
};

// The sum over k of x_k times a learned vector k.
class Projected : public IdFeature {
 public:
  explicit Projected(const FeatureSpec& spec) : reader_(spec), positive_(spec.positive_weights) {}

  IdShape shape() const override { return IdShape::kPooled; }

  void Run(ArrowCells* cells, IdValues* out) override {
    const int dim = reader_.dim();
    out->weights.resize(static_cast<size_t>(cells->rows() * dim));
    out->ids.resize(out->weights.size());
    reader_.Read(cells, out->weights.data());
    reader_.RequireFiniteResults(cells, out->weights.data());
    size_t kept = 0;
    for (int64_t row = 0; row < cells->rows(); ++row) {
      for (int k = 0; k < dim; ++k) {
        const float weight = out->weights[static_cast<size_t>(row * dim + k)];
        if (positive_ && !(weight > 0.0f)) continue;
        out->ids[kept] = k;
        out->weights[kept++] = weight;
      }
      out->ends.push_back(static_cast<int64_t>(kept));
    }
    out->ids.resize(kept);
    out->weights.resize(kept);
  }

 private:
  Reader reader_;
  const bool positive_;
};

}  // namespace

std::unique_ptr<NumberFeature> MakeRawFeature(const FeatureSpec& spec) {
  return std::make_unique<Raw>(spec);
}

std::unique_ptr<IdFeature> MakeBucketFeature(const FeatureSpec& spec) {
  return std::make_unique<Bucket>(spec);
}

std::unique_ptr<IdFeature> MakeProjectedFeature(const FeatureSpec& spec) {
  return std::make_unique<Projected>(spec);
}

}  // namespace hvdrec
