// Matrices side by side, as the columns of one that is nowhere in memory as a whole.

#ifndef HVDREC_KERNELS_LAYERS_PARTS_H_
#define HVDREC_KERNELS_LAYERS_PARTS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace hvdrec {

// Some of the columns.
template <typename Number>
struct Part {
  Number* data;  // [B, width]
  int64_t width;
};

template <typename Number>
using Parts = std::vector<Part<Number>>;

// Copies rows `begin` to `end` of the whole matrix to `out`, [end - begin, sum of widths].
inline void TakeParts(const Parts<const float>& parts, int64_t begin, int64_t end, float* out) {
  for (int64_t r = begin; r < end; ++r) {
    for (const auto& part : parts) out = std::copy_n(part.data + r * part.width, part.width, out);
  }
}

// The reverse.
inline void PutParts(const float* rows, int64_t begin, int64_t end, const Parts<float>& parts) {
  for (int64_t r = begin; r < end; ++r) {
    for (const auto& part : parts) {
      std::copy_n(rows, part.width, part.data + r * part.width);
      rows += part.width;
    }
  }
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_PARTS_H_
