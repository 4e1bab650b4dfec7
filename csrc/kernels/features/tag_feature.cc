// TagFeature: several ids per row, with weights from "id:weight" tokens or a second column.

#include "kernels/features/feature.h"

namespace hvdrec {
namespace {

class Tag : public IdFeature {
 public:
  explicit Tag(const FeatureSpec& spec)
      : inputs_(spec.inputs),
        precision_(spec.precision),
        separator_(spec.separator),
        kv_separator_(spec.kv_separator),
        positive_weights_(spec.positive_weights),
        map_(spec) {}

  IdShape shape() const override { return IdShape::kPooled; }

  void Run(ArrowCells* cells, IdValues* out) override {
    out->ends.reserve(static_cast<size_t>(cells->rows()));
    for (int64_t row = 0; row < cells->rows(); ++row) {
      const size_t begin = out->ids.size();
      AddTokens(cells, row, out);
      if (inputs_.size() > 1) SetWeights(cells, row, begin, out);
      if (positive_weights_) KeepPositive(begin, out);
      out->ends.push_back(static_cast<int64_t>(out->ids.size()));
    }
  }

 private:
  void AddTokens(ArrowCells* cells, int64_t row, IdValues* out) {
    const Column& column = cells->column(inputs_[0]);
    absent_.clear();
    if (!column.HasList(row)) {
      ForEachToken(cells->Text(inputs_[0], row, &scratch_, precision_), separator_,
                   [&](std::string_view token) { Add(cells, row, token, out); });
      return;
    }
    int64_t begin, end;
    column.List(row, &begin, &end);
    const Column& elements = column.elements();
    size_t next = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (elements.Null(i)) continue;
      const size_t place = next++;
      const bool text = elements.storage() == Column::Storage::kText;
      if (text && elements.Raw(i).empty()) continue;
      if (text && !kv_separator_.empty()) {
        Add(cells, row, elements.Raw(i), out);
      } else if (map_.identity()) {
        const int64_t value = cells->ElementInteger(elements, i, row);
        if (value == -1) {
          absent_.push_back(place);
        } else {
          Push(map_.Number(value), 1.0f, out);
        }
      } else {
        const std::string_view token = cells->ElementText(elements, i, row, &scratch_, precision_);
        if (!token.empty()) Push(map_.Token(token), 1.0f, out);
      }
    }
  }

  void Add(ArrowCells* cells, int64_t row, std::string_view token, IdValues* out) {
    const Field& field = cells->column(inputs_[0]).field();
    float weight = 1.0f;
    if (!kv_separator_.empty()) {
      const size_t at = token.find(kv_separator_);
      if (at == std::string_view::npos) {
        cells->Bad(row, field, Quoted(token) + " has no '" + kv_separator_ + "' before a weight");
        return;
      }
      weight = Weight(cells, row, token.substr(at + kv_separator_.size()), field);
      token = token.substr(0, at);
      if (token.empty()) return;
    }
    if (map_.identity()) {
      Field whole{field.name, FieldType::kInt64, ""};
      Push(map_.Number(cells->ParseInteger(token, whole, row)), weight, out);
    } else {
      Push(map_.Token(token), weight, out);
    }
  }

  static float Weight(ArrowCells* cells, int64_t row, std::string_view text, const Field& field) {
    const Field number{field.name, FieldType::kFloat, ""};
    return cells->FiniteFloat(cells->ParseNumber(text, number, row), field, row);
  }

  static void Push(int32_t id, float weight, IdValues* out) {
    out->ids.push_back(id);
    out->weights.push_back(weight);
  }

  // Takes the weights from the second input, which must have as many.
  void SetWeights(ArrowCells* cells, int64_t row, size_t begin, IdValues* out) {
    const Column& column = cells->column(inputs_[1]);
    const size_t wanted = out->ids.size() - begin + absent_.size();
    size_t found = 0, left_out = 0;
    const auto take = [&](float weight) {
      if (left_out < absent_.size() && absent_[left_out] == found) {
        ++left_out;
      } else if (found < wanted) {
        out->weights[begin + found - left_out] = weight;
      }
      ++found;
    };
    if (column.storage() == Column::Storage::kList) {
      int64_t first, last;
      column.List(row, &first, &last);
      const Column& elements = column.elements();
      for (int64_t i = first; i < last; ++i) {
        if (elements.Null(i)) {
          cells->Bad(row, column.field(), "a weight is null");
          continue;
        }
        take(cells->FiniteFloat(cells->ElementNumber(elements, i, row), column.field(), row));
      }
    } else {
      ForEachNumber(cells, inputs_[1], row, separator_,
                    [&](double weight) { take(cells->FiniteFloat(weight, column.field(), row)); });
    }
    if (found != wanted) {
      cells->Bad(
          row, column.field(),
          "found " + std::to_string(found) + " weights for " + std::to_string(wanted) + " tags");
    }
  }

  // Leaves out values whose weight isn't positive (tf.nn.safe_embedding_lookup_sparse).
  static void KeepPositive(size_t begin, IdValues* out) {
    size_t kept = begin;
    for (size_t i = begin; i < out->ids.size(); ++i) {
      if (!(out->weights[i] > 0.0f)) continue;
      out->ids[kept] = out->ids[i];
      out->weights[kept++] = out->weights[i];
    }
    out->ids.resize(kept);
    out->weights.resize(kept);
  }

  const std::vector<int> inputs_;
  const int precision_;
  const std::string separator_;
  const std::string kv_separator_;
  const bool positive_weights_;
  const IdMap map_;
  // The positions in the row's list of whole numbers that mean no value (-1, as in requests to
  // exported models).
  std::vector<size_t> absent_;
  std::string scratch_;
  std::string weights_scratch_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeTagFeature(const FeatureSpec& spec) {
  return std::make_unique<Tag>(spec);
}

}  // namespace hvdrec
