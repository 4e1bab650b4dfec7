// LookupFeature: the values of a key in a map, as ids.

#include <string>
#include <utility>

#include "kernels/features/feature.h"

namespace hvdrec {
namespace {

class Lookup : public IdFeature {
 public:
  explicit Lookup(const FeatureSpec& spec)
      : key_(spec.inputs[0]),
        map_(spec.inputs[1]),
        separator_(spec.separator),
        kv_separator_(spec.kv_separator),
        most_(spec.most),
        precision_(spec.precision),
        ids_(spec) {}

  IdShape shape() const override { return IdShape::kPooled; }

  void Run(ArrowCells* cells, IdValues* out) override {
    out->ends.reserve(static_cast<size_t>(cells->rows()));
    for (int64_t row = 0; row < cells->rows(); ++row) {
      const std::string_view key = cells->Text(key_, row, &key_scratch_, precision_);
      int found = 0;
      ForEachToken(cells->Text(map_, row, &map_scratch_), separator_, [&](std::string_view pair) {
        std::string_view word, value;
        if (!Split(pair, &word, &value)) {
          cells->Bad(row, cells->column(map_).field(),
                     Quoted(pair) + " is not a key and a value separated by one of '" +
                         kv_separator_ + "'");
        } else if (word == key && ++found <= most_) {
          out->ids.push_back(ids_.Token(value));
          out->weights.push_back(1.0f);
        }
      });
      if (found > most_) {
        cells->Bad(row, cells->column(map_).field(),
                   std::to_string(found) + " values for the key " + Quoted(key) +
                       ", more than lookup_max_sel_elem_num, which is " + std::to_string(most_));
      }
      out->ends.push_back(static_cast<int64_t>(out->ids.size()));
    }
  }

 private:
  // Takes the two parts of a pair, neither of which is empty.
  bool Split(std::string_view pair, std::string_view* word, std::string_view* value) const {
    int parts = 0;
    ForEachToken(pair, kv_separator_, [&](std::string_view part) {
      if (++parts == 1) *word = part;
      *value = part;
    });
    return parts == 2;
  }

  const int key_;
  const int map_;
  const std::string separator_;
  const std::string kv_separator_;
  const int most_;
  const int precision_;
  const IdMap ids_;
  std::string key_scratch_;
  std::string map_scratch_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeLookupFeature(const FeatureSpec& spec) {
  return std::make_unique<Lookup>(spec);
}

}  // namespace hvdrec
