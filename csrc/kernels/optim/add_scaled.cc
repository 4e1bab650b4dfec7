#include "kernels/optim/add_scaled.h"

namespace hvdrec {

void AddScaled(const float* values, const float* added, float scale, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = values[i] + added[i] * scale;
}

void MoveAverage(const float* values, float weight, int64_t n, float* average) {
  for (int64_t i = 0; i < n; ++i) average[i] -= (average[i] - values[i]) * weight;
}

}  // namespace hvdrec
