#include "kernels/optim/adam.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

namespace hvdrec {
namespace {

// Numbers that a thread processes at a time.
constexpr int64_t kChunk = 1 << 14;

inline void Update(const AdamStep& step, const float* __restrict g, int64_t size,
                   float* __restrict value, float* __restrict m, float* __restrict v) {
  for (int64_t i = 0; i < size; ++i) {
    m[i] += (g[i] - m[i]) * step.first;
    v[i] += (g[i] * g[i] - v[i]) * step.second;
    value[i] -= (m[i] * step.rate) / (std::sqrt(v[i]) + step.epsilon);
  }
}

inline void MoveOn(const AdamStep& step, int64_t size, float* __restrict value, float* __restrict m,
                   float* __restrict v) {
  for (int64_t i = 0; i < size; ++i) {
    m[i] += (0.0F - m[i]) * step.first;
    v[i] += (0.0F - v[i]) * step.second;
    value[i] -= (m[i] * step.rate) / (std::sqrt(v[i]) + step.epsilon);
  }
}

inline bool AllZero(const float* __restrict m, const float* __restrict v, int64_t size) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < size; ++i) {
    uint32_t one, two;
    std::memcpy(&one, m + i, sizeof(one));
    std::memcpy(&two, v + i, sizeof(two));
    bits |= one | two;
  }
  return bits == 0;
}

// Marks the position of each touched row's gradient, and removes the marks again.
class Places {
 public:
  Places(const int32_t* touched, int64_t count, int64_t rows, int32_t* place)
      : touched_(touched), place_(place) {
    for (; marked_ < count; ++marked_) {
      const int32_t row = touched[marked_];
      if (row < 0 || row >= rows) {
        Clear();
        throw std::invalid_argument("row " + std::to_string(row) + " is outside a table of " +
                                    std::to_string(rows) + " rows");
      }
      place[row] = static_cast<int32_t>(marked_) + 1;
    }
  }
  ~Places() { Clear(); }
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

 private:
  void Clear() {
    for (; marked_ > 0; --marked_) place_[touched_[marked_ - 1]] = 0;
  }

  const int32_t* const touched_;
  int32_t* const place_;
  int64_t marked_ = 0;
};

}  // namespace

void AdamDense(const AdamStep& step, const float* gradient, int64_t size,
               const AdamVariable& variable, const Parallel& parallel) {
  ForChunks(parallel, size, kChunk, [&](int64_t, int64_t begin, int64_t end) {
    Update(step, gradient + begin, end - begin, variable.value + begin, variable.m + begin,
           variable.v + begin);
  });
}

void AdamRows(const AdamStep& step, const int32_t* touched, int64_t count, const float* gradient,
              int64_t rows, int64_t dim, const AdamVariable& variable, int32_t* place,
              const Parallel& parallel) {
  const Places places(touched, count, rows, place);
  const int64_t chunk = std::max<int64_t>(kChunk / std::max<int64_t>(dim, 1), 1);
  ForChunks(parallel, rows, chunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* const value = variable.value + row * dim;
      float* const m = variable.m + row * dim;
      float* const v = variable.v + row * dim;
      if (place[row] > 0) {
        Update(step, gradient + (place[row] - 1) * dim, dim, value, m, v);
      } else if (!AllZero(m, v, dim)) {
        MoveOn(step, dim, value, m, v);
      }
    }
  });
}

}  // namespace hvdrec
