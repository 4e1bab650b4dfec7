// IdFeature: one id per row, by hash, vocabulary or the number itself.

#include "kernels/feature.h"

namespace hvdrec {
namespace {

class SingleId : public IdFeature {
 public:
  explicit SingleId(const FeatureSpec& spec)
      : field_(spec.inputs[0]), precision_(spec.precision), map_(spec) {}

  bool multi() const override { return false; }

  void Run(Cells* cells, IdValues* out) override {
    out->ids.resize(static_cast<size_t>(cells->rows()));
    int32_t* const ids = out->ids.data();
    if (map_.identity()) {
      RunIdentity(cells, ids);
      return;
    }
    cells->EachText(field_, precision_, [&](int64_t row, std::string_view text) {
      ids[row] = text.empty() ? -1 : map_.Token(text);
    });
  }

 private:
  void RunIdentity(Cells* cells, int32_t* ids) {
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

  const int field_;
  const int precision_;
  const IdMap map_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeIdFeature(const FeatureSpec& spec) {
  return std::make_unique<SingleId>(spec);
}

}  // namespace hvdrec
