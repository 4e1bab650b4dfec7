#include "kernels/features/feature.h"

namespace hvdrec {

IdMap::IdMap(const FeatureSpec& spec) : keys_(spec.keys) {
  if (spec.hash_buckets > 0) {
    mode_ = Mode::kHash;
    buckets_ = Modulo(spec.hash_buckets);
  } else if (!spec.vocabulary.empty()) {
    mode_ = Mode::kVocabulary;
    buckets_ = Modulo(spec.vocabulary.size());
    words_ = spec.vocabulary;
    for (size_t i = 0; i < words_.size(); ++i) ids_.emplace(words_[i], static_cast<int32_t>(i));
  } else {
    mode_ = Mode::kIdentity;
    buckets_ = Modulo(spec.num_buckets);
  }
}

int32_t IdMap::Word(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? 0 : found->second;
}

}  // namespace hvdrec
