// Sums of looked-up embeddings, forward and backward: the linear part of a model.
//
//   out[b] = sum over s and d of touched[index[b, s] - 1, d], where index[b, s] isn't 0
//   half_squares = sum of the squares of what was looked up / 2, for a penalty on it
//
// All arrays are row-major.

#ifndef HVDREC_KERNELS_LAYERS_LOOKUP_SUMS_H_
#define HVDREC_KERNELS_LAYERS_LOOKUP_SUMS_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct LookupSums {
  const int32_t* index;  // [B, stride] from 0 to U; its first S columns
  int64_t rows;          // B
  int64_t columns;       // S
  int64_t stride;
  int64_t touched;  // U
  int64_t dim;      // D
};

// `touched` is [U, D], `out` [B]; returns half_squares. Throws std::invalid_argument where an index
// is out of range.
double LookupSumsForward(const LookupSums& lookup, const float* touched, float* out,
                         const Parallel& parallel);

// The gradient of `touched`, `out` [U, D], from that of the sums, `upstream` [B], and that of
// half_squares: each row gets the sum of upstream over its occurrences, in their order, and squares
// * touched[row] for each of them. The indices must be those of a LookupSumsForward.
void LookupSumsBackward(const LookupSums& lookup, const float* touched, const float* upstream,
                        float squares, float* out, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_LOOKUP_SUMS_H_
