// Sums of rows of floats, always in the same order.

#ifndef HVDREC_KERNELS_BASE_ROW_MATH_H_
#define HVDREC_KERNELS_BASE_ROW_MATH_H_

#include <cstdint>

namespace hvdrec {

inline void AddRow(const float* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// Several sums that the compiler may compute at once.
inline float Dot(const float* __restrict a, const float* __restrict b, int64_t count) {
  constexpr int64_t kSums = 16;
  float sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int64_t k = 0; k < kSums; ++k) sums[k] += a[i + k] * b[i + k];
  }
  for (int64_t k = 0; i < count; ++i, ++k) sums[k] += a[i] * b[i];
  for (int64_t half = kSums / 2; half > 0; half /= 2) {
    for (int64_t k = 0; k < half; ++k) sums[k] += sums[k + half];
  }
  return sums[0];
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_ROW_MATH_H_
