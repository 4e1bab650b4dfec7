#include "kernels/feature.h"
#include "kernels/fingerprint.h"

namespace hvdrec {

size_t IdMap::Hash::operator()(std::string_view text) const { return Fingerprint64(text); }

IdMap::IdMap(const FeatureSpec& spec) {
  if (spec.hash_buckets > 0) {
    mode_ = Mode::kHash;
    buckets_ = spec.hash_buckets;
  } else if (!spec.vocabulary.empty()) {
    mode_ = Mode::kVocabulary;
    buckets_ = spec.vocabulary.size();
    words_ = spec.vocabulary;
    for (size_t i = 0; i < words_.size(); ++i) ids_.emplace(words_[i], static_cast<int32_t>(i));
  } else {
    mode_ = Mode::kIdentity;
    buckets_ = spec.num_buckets;
  }
}

int32_t IdMap::Token(std::string_view token) const {
  if (mode_ == Mode::kHash) return static_cast<int32_t>(Fingerprint64(token) % buckets_);
  const auto found = ids_.find(token);
  return found == ids_.end() ? 0 : found->second;
}

}  // namespace hvdrec
