// RawFeature: numbers as they are, in buckets, or as coefficients of learnt vectors.

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels/feature.h"

namespace hvdrec {
namespace {

using Normalizer = float (*)(float);

Normalizer FindNormalizer(const std::string& name) {
  if (name.empty() || name == "identity") return nullptr;
  if (name == "log") return [](float x) { return std::log(x); };
  if (name == "log1p") return [](float x) { return std::log1p(x); };
  if (name == "sqrt") return [](float x) { return std::sqrt(x); };
  if (name == "square") return [](float x) { return x * x; };
  if (name == "abs") return [](float x) { return std::fabs(x); };
  if (name == "exp") return [](float x) { return std::exp(x); };
  if (name == "expm1") return [](float x) { return std::expm1(x); };
  if (name == "tanh") return [](float x) { return std::tanh(x); };
  if (name == "sigmoid") return [](float x) { return 1.0f / (1.0f + std::exp(-x)); };
  if (name == "sign") return [](float x) { return static_cast<float>((x > 0) - (x < 0)); };
  throw std::invalid_argument("no normalizer is named " + name);
}

// Reads `dim` numbers of each row and normalises them.
class Reader {
 public:
  explicit Reader(const FeatureSpec& spec)
      : field_(spec.inputs[0]),
        dim_(spec.dim),
        separator_(spec.separator),
        scaled_(spec.max > spec.min),
        min_(static_cast<float>(spec.min)),
        span_(static_cast<float>(spec.max - spec.min)),
        normalizer_(FindNormalizer(spec.normalizer)) {}

  int dim() const { return dim_; }

  void Read(Cells* cells, int64_t row, float* out) {
    const Column& column = cells->column(field_);
    if (column.storage() == Column::Storage::kList) {
      ReadList(cells, column, row, out);
    } else if (dim_ == 1) {
      out[0] = static_cast<float>(cells->Number(field_, row));
    } else {
      ReadVector(cells, column, row, out);
    }
    if (scaled_) {
      for (int i = 0; i < dim_; ++i) out[i] = (out[i] - min_) / span_;
    }
    if (normalizer_ != nullptr) {
      for (int i = 0; i < dim_; ++i) out[i] = normalizer_(out[i]);
    }
  }

 private:
  void Check(Cells* cells, const Column& column, int64_t row, int64_t found) const {
    if (found > dim_) {
      cells->Bad(row, column.field(),
                 std::to_string(found) + " numbers where raw_input_dim is " + std::to_string(dim_));
    }
  }

  // Numbers between separators; those missing at the end are 0.
  void ReadVector(Cells* cells, const Column& column, int64_t row, float* out) {
    std::fill(out, out + dim_, 0.0f);
    const Field number{column.field().name, FieldType::kDouble, ""};
    int64_t found = 0;
    ForEachToken(cells->Text(field_, row, &scratch_, 9), separator_, [&](std::string_view token) {
      if (found < dim_) out[found] = static_cast<float>(cells->ParseNumber(token, number, row));
      ++found;
    });
    Check(cells, column, row, found);
  }

  void ReadList(Cells* cells, const Column& column, int64_t row, float* out) {
    std::fill(out, out + dim_, 0.0f);
    int64_t begin, end;
    column.List(row, &begin, &end);
    const Column& elements = column.elements();
    const int64_t count = std::min<int64_t>(end - begin, dim_);
    for (int64_t i = 0; i < count; ++i) {
      if (elements.Null(begin + i)) continue;
      switch (elements.storage()) {
        case Column::Storage::kNumber:
          out[i] = static_cast<float>(elements.RawNumber(begin + i));
          break;
        case Column::Storage::kInteger:
          out[i] = static_cast<float>(elements.RawInteger(begin + i));
          break;
        default: {
          const Field number{column.field().name, FieldType::kDouble, ""};
          out[i] = static_cast<float>(cells->ParseNumber(elements.Raw(begin + i), number, row));
        }
      }
    }
    Check(cells, column, row, end - begin);
  }

  const int field_;
  const int dim_;
  const std::string separator_;
  const bool scaled_;
  const float min_;
  const float span_;
  const Normalizer normalizer_;
  std::string scratch_;
};

class Raw : public NumberFeature {
 public:
  explicit Raw(const FeatureSpec& spec) : reader_(spec) {}
  int dim() const override { return reader_.dim(); }
  void Run(Cells* cells, float* out, int64_t stride) override {
    for (int64_t row = 0; row < cells->rows(); ++row) reader_.Read(cells, row, out + row * stride);
  }

 private:
  Reader reader_;
};

// Bucket i holds x with boundaries[i - 1] <= x < boundaries[i]; number k of a vector has its own
// buckets behind those of number k - 1 (tf.feature_column.bucketized_column).
class Bucket : public IdFeature {
 public:
  explicit Bucket(const FeatureSpec& spec)
      : reader_(spec), boundaries_(spec.boundaries), values_(static_cast<size_t>(spec.dim)) {}

  bool multi() const override { return reader_.dim() > 1; }

  void Run(Cells* cells, IdValues* out) override {
    const int dim = reader_.dim();
    const auto buckets = static_cast<int32_t>(boundaries_.size()) + 1;
    out->ids.resize(static_cast<size_t>(cells->rows() * dim));
    int32_t* ids = out->ids.data();
    for (int64_t row = 0; row < cells->rows(); ++row) {
      reader_.Read(cells, row, values_.data());
      for (int k = 0; k < dim; ++k) {
        const auto bound = std::upper_bound(boundaries_.begin(), boundaries_.end(), values_[k]);
        *ids++ = k * buckets + static_cast<int32_t>(bound - boundaries_.begin());
      }
      if (dim > 1) out->ends.push_back((row + 1) * dim);
    }
    if (dim > 1) out->weights.assign(out->ids.size(), 1.0f);
  }

 private:
  Reader reader_;
  const std::vector<float> boundaries_;
  std::vector<float> values_;
};

// The sum over k of x_k times a learnt vector k.
class Projected : public IdFeature {
 public:
  explicit Projected(const FeatureSpec& spec) : reader_(spec) {}

  bool multi() const override { return true; }

  void Run(Cells* cells, IdValues* out) override {
    const int dim = reader_.dim();
    const auto count = static_cast<size_t>(cells->rows() * dim);
    out->ids.resize(count);
    out->weights.resize(count);
    for (int64_t row = 0; row < cells->rows(); ++row) {
      reader_.Read(cells, row, out->weights.data() + row * dim);
      for (int k = 0; k < dim; ++k) out->ids[static_cast<size_t>(row * dim + k)] = k;
      out->ends.push_back((row + 1) * dim);
    }
  }

 private:
  Reader reader_;
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
