#include "kernels/text/overlap.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "kernels/text/terms.h"

namespace hvdrec {
namespace {

constexpr const char* kNames[] = {
    "query_common_ratio", "title_common_ratio", "is_contain",
    "is_equal",           "index_of",           "proximity_min_cover",
    "proximity_min_dist", "proximity_max_dist", "proximity_avg_dist",
};

// The smallest distance between a number of one and of the other; both are ascending.
int32_t SmallestDistance(const std::vector<int32_t>& one, const std::vector<int32_t>& other) {
  int32_t best = std::numeric_limits<int32_t>::max();
  for (size_t i = 0, j = 0; i < one.size() && j < other.size();) {
    best = std::min(best, std::abs(one[i] - other[j]));
    if (one[i] < other[j]) {
      ++i;
    } else {
      ++j;
    }
  }
  return best;
}

}  // namespace

OverlapMethod ParseOverlapMethod(const std::string& name) {
  const auto* const found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) throw std::invalid_argument("no overlap method is named " + name);
  return static_cast<OverlapMethod>(found - std::begin(kNames));
}

void Overlap::operator()(std::string_view query, std::string_view title, float* out) {
  numbers_.clear();
  const auto read = [this](std::string_view text, std::vector<int32_t>* numbers) {
    SplitTerms(text, separator_, &terms_);
    numbers->clear();
    for (const std::string_view term : terms_) {
      const auto next = static_cast<int32_t>(numbers_.size());
      numbers->push_back(numbers_.try_emplace(term, next).first->second);
    }
  };
  read(query, &query_);
  distinct_ = static_cast<int32_t>(numbers_.size());
  read(title, &title_);
  if (query_.empty() || title_.empty()) {
    std::fill_n(out, methods_.size(), otherwise_);
    return;
  }
  places_.resize(std::max(places_.size(), static_cast<size_t>(distinct_)));
  for (int32_t i = 0; i < distinct_; ++i) places_[i].clear();
  for (size_t at = 0; at < title_.size(); ++at) {
    if (title_[at] < distinct_) places_[title_[at]].push_back(static_cast<int32_t>(at));
  }
  matched_ = std::count_if(places_.begin(), places_.begin() + distinct_,
                           [](const std::vector<int32_t>& places) { return !places.empty(); });
  has_distances_ = false;
  for (size_t i = 0; i < methods_.size(); ++i) out[i] = Compute(methods_[i]);
}

float Overlap::Compute(OverlapMethod method) {
  const auto common = [this] {
    return static_cast<float>(std::count_if(
        query_.begin(), query_.end(), [this](int32_t term) { return !places_[term].empty(); }));
  };
  switch (method) {
    case OverlapMethod::kQueryCommonRatio:
      return common() / static_cast<float>(query_.size());
    case OverlapMethod::kTitleCommonRatio:
      return std::min(1.0f, common() / static_cast<float>(title_.size()));
    case OverlapMethod::kIsContain:
      return IndexOf() >= 0 ? 1.0f : 0.0f;
    case OverlapMethod::kIsEqual:
      return query_ == title_ ? 1.0f : 0.0f;
    case OverlapMethod::kIndexOf:
      return static_cast<float>(IndexOf());
    case OverlapMethod::kProximityMinCover:
      return static_cast<float>(MinCover());
    case OverlapMethod::kProximityMinDist:
      FindDistances();
      return static_cast<float>(min_);
    case OverlapMethod::kProximityMaxDist:
      FindDistances();
      return static_cast<float>(max_);
    case OverlapMethod::kProximityAvgDist:
      FindDistances();
      return static_cast<float>(mean_);
  }
  throw std::logic_error("an overlap method without a formula");
}

int64_t Overlap::IndexOf() const {
  const auto found = std::search(title_.begin(), title_.end(), query_.begin(), query_.end());
  return found == title_.end() ? -1 : found - title_.begin();
}

int64_t Overlap::MinCover() {
  if (matched_ < distinct_) return 0;
  counts_.assign(static_cast<size_t>(distinct_), 0);
  size_t best = title_.size(), begin = 0;
  int32_t inside = 0;
  for (size_t end = 0; end < title_.size(); ++end) {
    if (title_[end] < distinct_ && counts_[title_[end]]++ == 0) ++inside;
    while (inside == distinct_) {
      best = std::min(best, end - begin + 1);
      if (title_[begin] < distinct_ && --counts_[title_[begin]] == 0) --inside;
      ++begin;
    }
  }
  return static_cast<int64_t>(best);
}

void Overlap::FindDistances() {
  if (has_distances_) return;
  has_distances_ = true;
  if (matched_ < 2) {
    min_ = max_ = mean_ = matched_ == 1 ? 0.0 : static_cast<double>(title_.size() + 1);
    return;
  }
  double sum = 0.0;
  int64_t pairs = 0;
  min_ = std::numeric_limits<double>::infinity();
  max_ = 0.0;
  for (int32_t i = 0; i < distinct_; ++i) {
    for (int32_t j = 0; j < i; ++j) {
      if (places_[i].empty() || places_[j].empty()) continue;
      const double distance = SmallestDistance(places_[i], places_[j]);
      min_ = std::min(min_, distance);
      max_ = std::max(max_, distance);
      sum += distance;
      ++pairs;
    }
  }
  mean_ = sum / static_cast<double>(pairs);
}

}  // namespace hvdrec
