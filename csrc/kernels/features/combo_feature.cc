// ComboFeature: the cross of several inputs, hashed.

#include "kernels/features/feature.h"
#include "kernels/features/fingerprint.h"

namespace hvdrec {
namespace {

// tf.feature_column.crossed_column's hash key.
constexpr uint64_t kCrossKey = 0xDECAFCAFFEULL;

constexpr int kMostCombinations = 1000000;

class Combo : public IdFeature {
 public:
  explicit Combo(const FeatureSpec& spec)
      : inputs_(spec.inputs),
        map_(spec),
        join_(spec.join_separator),
        separators_(spec.input_separators),
        scratch_(spec.inputs.size()),
        tokens_(spec.inputs.size()) {
    separators_.resize(inputs_.size());
    for (const std::string& separator : separators_) multi_ = multi_ || !separator.empty();
  }

  IdShape shape() const override { return multi_ ? IdShape::kPooled : IdShape::kSingle; }

  void Run(ArrowCells* cells, IdValues* out) override {
    if (join_.empty() && !multi_) {
      CrossWhole(cells, out);
      return;
    }
    for (int64_t row = 0; row < cells->rows(); ++row) {
      const size_t before = out->ids.size();
      Split(cells, row);
      if (TooMany(cells, row)) continue;
      if (join_.empty()) {
        Cross(0, kCrossKey, out);
      } else {
        text_.clear();
        Join(0, out);
      }
      if (multi_) {
        out->weights.resize(out->ids.size(), 1.0f);
        out->ends.push_back(static_cast<int64_t>(out->ids.size()));
      } else if (out->ids.size() == before) {
        out->ids.push_back(-1);
      }
    }
  }

 private:
  // One value of each input, and no id if one is empty: input by input over all rows.
  void CrossWhole(ArrowCells* cells, IdValues* out) {
    hashes_.assign(static_cast<size_t>(cells->rows()), kCrossKey);
    out->ids.assign(hashes_.size(), 0);
    uint64_t* const hashes = hashes_.data();
    int32_t* const ids = out->ids.data();
    for (const int input : inputs_) {
      cells->EachText(input, 6, [hashes, ids](int64_t row, std::string_view text) {
        hashes[row] = FingerprintCat64(hashes[row], Fingerprint64(text));
        if (text.empty()) ids[row] = -1;
      });
    }
    for (size_t i = 0; i < hashes_.size(); ++i) {
      if (ids[i] == 0) ids[i] = map_.Bucket(hashes[i]);
    }
  }

  void Split(ArrowCells* cells, int64_t row) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      tokens_[i].clear();
      const std::string_view text = cells->Text(inputs_[i], row, &scratch_[i], 6);
      if (!separators_[i].empty()) {
        ForEachToken(text, separators_[i], [&](std::string_view t) { tokens_[i].push_back(t); });
      } else if (!text.empty() || !join_.empty()) {
        // A cross has no value for an empty input; joining uses the empty text.
        tokens_[i].push_back(text);
      }
    }
  }

  // A few long cells must not produce more ids than fit in memory.
  bool TooMany(ArrowCells* cells, int64_t row) const {
    double combinations = 1.0;
    for (const auto& tokens : tokens_) combinations *= static_cast<double>(tokens.size());
    if (combinations <= kMostCombinations) return false;
    cells->Bad(row, cells->column(inputs_[0]).field(),
               "crossed with the other inputs, it produces more than " +
                   std::to_string(kMostCombinations) + " combinations");
    return true;
  }

  // All combinations, the last input running fastest (sparse_cross_hashed).
  void Cross(size_t input, uint64_t hash, IdValues* out) {
    if (input == inputs_.size()) {
      out->ids.push_back(map_.Bucket(hash));
      return;
    }
    for (const std::string_view token : tokens_[input]) {
      Cross(input + 1, FingerprintCat64(hash, Fingerprint64(token)), out);
    }
  }

  void Join(size_t input, IdValues* out) {
    if (input == inputs_.size()) {
      out->ids.push_back(map_.Token(text_));
      return;
    }
    const size_t length = text_.size();
    for (const std::string_view token : tokens_[input]) {
      if (input > 0) text_ += join_;
      text_ += token;
      Join(input + 1, out);
      text_.resize(length);
    }
  }

  const std::vector<int> inputs_;
  const IdMap map_;
  const std::string join_;
  std::vector<std::string> separators_;
  bool multi_ = false;
  std::vector<std::string> scratch_;
  std::vector<std::vector<std::string_view>> tokens_;
  std::string text_;
  std::vector<uint64_t> hashes_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeComboFeature(const FeatureSpec& spec) {
  return std::make_unique<Combo>(spec);
}

}  // namespace hvdrec
