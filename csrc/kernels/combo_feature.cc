// ComboFeature: the cross of several inputs, hashed.

#include "kernels/feature.h"
#include "kernels/fingerprint.h"

namespace hvdrec {
namespace {

// tf.feature_column.crossed_column's hash key.
constexpr uint64_t kCrossKey = 0xDECAFCAFFEULL;

class Combo : public IdFeature {
 public:
  explicit Combo(const FeatureSpec& spec)
      : inputs_(spec.inputs),
        buckets_(spec.hash_buckets),
        join_(spec.join_separator),
        separators_(spec.input_separators),
        scratch_(spec.inputs.size()),
        tokens_(spec.inputs.size()) {
    separators_.resize(inputs_.size());
    for (const std::string& separator : separators_) multi_ = multi_ || !separator.empty();
  }

  bool multi() const override { return multi_; }

  void Run(Cells* cells, IdValues* out) override {
    for (int64_t row = 0; row < cells->rows(); ++row) {
      const size_t before = out->ids.size();
      Split(cells, row);
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
  void Split(Cells* cells, int64_t row) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      tokens_[i].clear();
      const std::string_view text = cells->Text(inputs_[i], row, &scratch_[i], 6);
      if (!separators_[i].empty()) {
        ForEachToken(text, separators_[i], [&](std::string_view t) { tokens_[i].push_back(t); });
      } else if (!text.empty() || !join_.empty()) {
        // A cross has no value for an empty input; joining takes it as it is.
        tokens_[i].push_back(text);
      }
    }
  }

  // All combinations, the last input running fastest (sparse_cross_hashed).
  void Cross(size_t input, uint64_t hash, IdValues* out) {
    if (input == inputs_.size()) {
      out->ids.push_back(static_cast<int32_t>(hash % buckets_));
      return;
    }
    for (const std::string_view token : tokens_[input]) {
      Cross(input + 1, FingerprintCat64(hash, Fingerprint64(token)), out);
    }
  }

  void Join(size_t input, IdValues* out) {
    if (input == inputs_.size()) {
      out->ids.push_back(static_cast<int32_t>(Fingerprint64(text_) % buckets_));
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
  const uint64_t buckets_;
  const std::string join_;
  std::vector<std::string> separators_;
  bool multi_ = false;
  std::vector<std::string> scratch_;
  std::vector<std::vector<std::string_view>> tokens_;
  std::string text_;
};

}  // namespace

std::unique_ptr<IdFeature> MakeComboFeature(const FeatureSpec& spec) {
  return std::make_unique<Combo>(spec);
}

}  // namespace hvdrec
