// IdFeature: one id per row, by hash, vocabulary or the number itself.

#include "kernels/features/feature.h"

namespace hvdrec {
namespace {

class SingleId : public IdFeature {
 public:
  explicit SingleId(const FeatureSpec& spec)
      : field_(spec.inputs[0]), precision_(spec.precision), map_(spec) {}

  IdShape shape() const override { return IdShape::kSingle; }

  void Run(ArrowCells* cells, IdValues* out) override {
    out->ids.resize(static_cast<size_t>(cells->rows()));
    int32_t* const ids = out->ids.data();
    if (cells->column(field_).storage() == Column::Storage::kList) {
      RunList(cells, ids);
      return;
    }
    if (map_.identity()) {
      RunIdentity(cells, ids);
      return;
    }
    if (map_.hashed()) {
      // By value: the compiler keeps in registers what it would otherwise load again for each cell.
      const Modulo buckets = map_.buckets();
      cells->EachText(field_, precision_, [ids, buckets](int64_t row, std::string_view text) {
        ids[row] = text.empty() ? -1 : static_cast<int32_t>(buckets(Fingerprint64(text)));
      });
      return;
    }
    cells->EachText(field_, precision_, [&](int64_t row, std::string_view text) {
      ids[row] = text.empty() ? -1 : map_.Token(text);
    });
  }

 private:
  void RunIdentity(ArrowCells* cells, int32_t* ids) {
    const Column& column = cells->column(field_);
    const Field& field = column.field();
    const bool text = column.storage() == Column::Storage::kText;
    const bool absent = field.type == FieldType::kString && field.default_text.empty();
    for (int64_t row = 0; row < cells->rows(); ++row) {
      if (absent && (text ? column.Raw(row).empty() : column.Null(row))) {
        ids[row] = -1;
        continue;
      }
      const int64_t value = cells->Integer(field_, row);
      ids[row] = value == -1 ? -1 : map_.Number(value);
    }
  }

  // Lists with at most one value, as Parquet files may contain.
  void RunList(ArrowCells* cells, int32_t* ids) {
    const Column& column = cells->column(field_);
    const Column& elements = column.elements();
    std::string scratch;
    for (int64_t row = 0; row < cells->rows(); ++row) {
      if (!column.HasList(row)) {
        ids[row] = DefaultId(cells, row, column.field());
        continue;
      }
      ids[row] = -1;
      int64_t begin, end;
      column.List(row, &begin, &end);
      if (end - begin > 1) {
        cells->Bad(row, column.field(),
                   "a list of " + std::to_string(end - begin) +
                       " values, but an IdFeature has one value per row; use a TagFeature");
      } else if (end > begin && !elements.Null(begin)) {
        ids[row] = ElementId(cells, row, elements, begin, &scratch);
      }
    }
  }

  // The id of a null in a column of lists.
  int32_t DefaultId(ArrowCells* cells, int64_t row, const Field& field) const {
    if (!map_.identity()) return map_.Token(field.default_text);
    const int64_t value = cells->ParseInteger(field.default_text, field, row);
    return value == -1 ? -1 : map_.Number(value);
  }

  int32_t ElementId(ArrowCells* cells, int64_t row, const Column& elements, int64_t at,
                    std::string* scratch) const {
    const bool text = elements.storage() == Column::Storage::kText;
    if (text && elements.Raw(at).empty()) return -1;
    if (!map_.identity()) {
      const std::string_view token = cells->ElementText(elements, at, row, scratch, precision_);
      return token.empty() ? -1 : map_.Token(token);
    }
    const int64_t value = cells->ElementInteger(elements, at, row);
    return value == -1 ? -1 : map_.Number(value);
  }

  const int field_;
  const int precision_;
  const IdMap map_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeIdFeature(const FeatureSpec& spec) {
  return std::make_unique<SingleId>(spec);
}

}  // namespace hvdrec
