// Numbers to buckets.

#ifndef HVDREC_KERNELS_FEATURES_BOUNDARIES_H_
#define HVDREC_KERNELS_FEATURES_BOUNDARIES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace hvdrec {

// The buckets of numbers between sorted boundaries: boundaries[i - 1] <= x < boundaries[i] gives i,
// and NaN the last one.
class Boundaries {
 public:
  explicit Boundaries(std::vector<float> values) : values_(std::move(values)) {}

  int32_t buckets() const { return static_cast<int32_t>(values_.size()) + 1; }

  int32_t Find(float x) const {
    if (values_.size() > kMostCompared) {
      return static_cast<int32_t>(std::upper_bound(values_.begin(), values_.end(), x) -
                                  values_.begin());
    }
    // Few boundaries are all compared, which needs no branch that could be mispredicted.
    int32_t below = 0;
    for (const float boundary : values_) below += !(x < boundary);
    return below;
  }

 private:
  static constexpr size_t kMostCompared = 64;
  const std::vector<float> values_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_BOUNDARIES_H_
