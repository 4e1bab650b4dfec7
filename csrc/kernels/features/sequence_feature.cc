// SequenceFeature: a row's history of ids, of buckets of numbers, or of numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/features/boundaries.h"
#include "kernels/features/elements.h"
#include "kernels/features/feature.h"

namespace hvdrec {
namespace {

// Calls `use` with the text of each element of a row.
class Elements {
 public:
  Elements(const FeatureSpec& spec, bool ids)
      : field_(spec.inputs[0]), ids_(ids), separator_(spec.separator) {}

  const Field& field(const ArrowCells& cells) const { return cells.column(field_).field(); }
  // The field as one of values of this type, for messages.
  Field FieldOf(const ArrowCells& cells, FieldType type) const {
    return {field(cells).name, type, ""};
  }

  template <typename Use>
  void Each(ArrowCells* cells, int64_t row, const Use& use) {
    const Column& column = cells->column(field_);
    if (column.HasList(row)) {
      ForEachListValue(cells, column, row, ids_, &scratch_, use);
    } else {
      ForEachElement(cells->Text(field_, row, &scratch_, 9), separator_, use);
    }
  }

 private:
  const int field_;
  const bool ids_;
  const std::string separator_;
  std::string scratch_;
};

float ReadNumber(ArrowCells* cells, const Field& field, int64_t row, std::string_view text) {
  const auto x = static_cast<float>(cells->ParseNumber(text, field, row));
  if (!std::isfinite(x)) cells->Bad(row, field, Quoted(text) + " is not a finite number");
  return x;
}

// Ids of values by hash, vocabulary or number.
class ValueIds {
 public:
  static constexpr bool kIds = true;
  static constexpr FieldType kType = FieldType::kInt64;
  explicit ValueIds(const FeatureSpec& spec) : map_(spec) {}

  int32_t operator()(ArrowCells* cells, const Field& field, int64_t row,
                     std::string_view text) const {
    if (!map_.identity()) return map_.Token(text);
    return map_.Number(cells->ParseInteger(text, field, row));
  }

 private:
  const IdMap map_;
};

// Buckets of numbers.
class ValueBuckets {
 public:
  static constexpr bool kIds = false;
  static constexpr FieldType kType = FieldType::kDouble;
  explicit ValueBuckets(const FeatureSpec& spec)
      : boundaries_(spec.boundaries),
        scaled_(spec.high > spec.low),
        low_(static_cast<float>(spec.low)),
        span_(static_cast<float>(spec.high - spec.low)) {}

  int32_t operator()(ArrowCells* cells, const Field& field, int64_t row,
                     std::string_view text) const {
    const float x = ReadNumber(cells, field, row, text);
    return boundaries_.Find(scaled_ ? (x - low_) / span_ : x);
  }

 private:
  const Boundaries boundaries_;
  const bool scaled_;
  const float low_;
  const float span_;
};

// A sequence whose elements have one value each or, with an inner separator, several.
template <typename Values>
class Sequence : public IdFeature {
 public:
  explicit Sequence(const FeatureSpec& spec)
      : elements_(spec, Values::kIds),
        values_(spec),
        inner_(spec.inner_separator),
        most_(spec.most > 0 ? static_cast<size_t>(spec.most) : SIZE_MAX) {}

  IdShape shape() const override { return inner_.empty() ? IdShape::kSequence : IdShape::kNested; }

  void Run(ArrowCells* cells, IdValues* out) override {
    const Field field = elements_.FieldOf(*cells, Values::kType);
    for (int64_t row = 0; row < cells->rows(); ++row) {
      if (inner_.empty()) {
        AddIds(cells, field, row, out);
        out->ends.push_back(static_cast<int64_t>(out->ids.size()));
      } else {
        AddElements(cells, field, row, out);
        out->ends.push_back(static_cast<int64_t>(out->element_ends.size()));
      }
    }
    if (!inner_.empty()) out->weights.assign(out->ids.size(), 1.0f);
  }

 private:
  void AddIds(ArrowCells* cells, const Field& field, int64_t row, IdValues* out) {
    size_t count = 0;
    elements_.Each(cells, row, [&](std::string_view text) {
      if (count++ < most_) out->ids.push_back(values_(cells, field, row, text));
    });
  }

  // Empty elements at the end are left out, because no value refers to them.
  void AddElements(ArrowCells* cells, const Field& field, int64_t row, IdValues* out) {
    const size_t first = out->element_ends.size();
    size_t element = 0, length = 0;
    elements_.Each(cells, row, [&](std::string_view text) {
      const bool kept = element < most_;
      ++element;
      ForEachToken(text, inner_, [&](std::string_view token) {
        length = element;
        if (kept) out->ids.push_back(values_(cells, field, row, token));
      });
      if (kept) out->element_ends.push_back(static_cast<int64_t>(out->ids.size()));
    });
    out->element_ends.resize(first + std::min(length, most_));
  }

  Elements elements_;
  const Values values_;
  const std::string inner_;
  const size_t most_;
};

// As many elements in every row, `dim` numbers each; those missing at the end are 0.
class Vectors {
 public:
  explicit Vectors(const FeatureSpec& spec)
      : elements_(spec, false),
        inner_(spec.inner_separator),
        dim_(spec.dim),
        length_(spec.length) {}

  int dim() const { return dim_; }
  int length() const { return length_; }

  Field field(const ArrowCells& cells) const {
    return elements_.FieldOf(cells, FieldType::kDouble);
  }

  // Calls use(element, k, x) for each number x of a row that is written, in order.
  template <typename Use>
  void Each(ArrowCells* cells, const Field& field, int64_t row, const Use& use) {
    int element = 0;
    elements_.Each(cells, row, [&](std::string_view text) {
      if (element < length_) EachNumber(cells, field, row, element, text, use);
      ++element;
    });
    if (element > length_) {
      cells->Bad(row, field,
                 "found " + std::to_string(element) + " elements, but sequence_length is " +
                     std::to_string(length_));
    }
  }

 private:
  template <typename Use>
  void EachNumber(ArrowCells* cells, const Field& field, int64_t row, int element,
                  std::string_view text, const Use& use) {
    if (dim_ == 1) {
      use(element, 0, ReadNumber(cells, field, row, text));
      return;
    }
    int k = 0;
    ForEachToken(text, inner_, [&](std::string_view token) {
      if (k < dim_) use(element, k, ReadNumber(cells, field, row, token));
      ++k;
    });
    if (k > dim_) {
      cells->Bad(
          row, field,
          "found " + std::to_string(k) + " numbers, but raw_input_dim is " + std::to_string(dim_));
    }
  }

  Elements elements_;
  const std::string inner_;
  const int dim_;
  const int length_;
};

// Number k of an element is the coefficient of learned vector k.
class ProjectedSequence : public IdFeature {
 public:
  explicit ProjectedSequence(const FeatureSpec& spec)
      : vectors_(spec), positive_(spec.positive_weights) {}

  IdShape shape() const override { return IdShape::kNested; }

  void Run(ArrowCells* cells, IdValues* out) override {
    const Field field = vectors_.field(*cells);
    for (int64_t row = 0; row < cells->rows(); ++row) {
      const size_t first = out->element_ends.size();
      auto end = static_cast<int64_t>(out->ids.size());
      out->element_ends.resize(first + static_cast<size_t>(vectors_.length()), end);
      vectors_.Each(cells, field, row, [&](int element, int k, float x) {
        if (positive_ && !(x > 0.0f)) return;
        out->ids.push_back(k);
        out->weights.push_back(x);
        out->element_ends[first + static_cast<size_t>(element)] =
            static_cast<int64_t>(out->ids.size());
      });
      // Elements without numbers end where those before them do.
      for (size_t e = first; e < out->element_ends.size(); ++e) {
        end = out->element_ends[e] = std::max(end, out->element_ends[e]);
      }
      out->ends.push_back(static_cast<int64_t>(out->element_ends.size()));
    }
  }

 private:
  Vectors vectors_;
  const bool positive_;
};

class Numbers : public NumberSequence {
 public:
  explicit Numbers(const FeatureSpec& spec) : vectors_(spec) {}

  int dim() const override { return vectors_.dim(); }

  void Run(ArrowCells* cells, NumberValues* out) override {
    const int dim = vectors_.dim(), width = vectors_.length() * dim;
    out->numbers.assign(static_cast<size_t>(cells->rows() * width), 0.0f);
    const Field field = vectors_.field(*cells);
    for (int64_t row = 0; row < cells->rows(); ++row) {
      float* const values = out->numbers.data() + row * width;
      vectors_.Each(cells, field, row,
                    [&](int element, int k, float x) { values[element * dim + k] = x; });
      out->ends.push_back((row + 1) * vectors_.length());
    }
  }

 private:
  Vectors vectors_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeSequenceFeature(const FeatureSpec& spec) {
  return std::make_unique<Sequence<ValueIds>>(spec);
}

std::unique_ptr<IdFeature> MakeBucketSequence(const FeatureSpec& spec) {
  return std::make_unique<Sequence<ValueBuckets>>(spec);
}

std::unique_ptr<IdFeature> MakeProjectedSequence(const FeatureSpec& spec) {
  return std::make_unique<ProjectedSequence>(spec);
}

std::unique_ptr<NumberSequence> MakeNumberSequence(const FeatureSpec& spec) {
  return std::make_unique<Numbers>(spec);
}

}  // namespace hvdrec
