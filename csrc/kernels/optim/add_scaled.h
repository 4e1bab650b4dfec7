// Sums of two arrays, one of them times a number.

#ifndef HVDREC_KERNELS_OPTIM_ADD_SCALED_H_
#define HVDREC_KERNELS_OPTIM_ADD_SCALED_H_

#include <cstdint>

namespace hvdrec {

// out[i] = values[i] + added[i] * scale; `out` may be `values`.
void AddScaled(const float* values, const float* added, float scale, int64_t n, float* out);

// average[i] -= (average[i] - values[i]) * weight.
void MoveAverage(const float* values, float weight, int64_t n, float* average);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_OPTIM_ADD_SCALED_H_
