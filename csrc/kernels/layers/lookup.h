// Embedding lookups among the rows that a batch touches, forward and backward.
//
//   out[n] = touched[index[n] - 1], zeros where index[n] is 0
//   half_squares = sum of out^2 / 2, for a penalty on what was looked up
//
// All arrays are row-major.

#ifndef HVDREC_KERNELS_LAYERS_LOOKUP_H_
#define HVDREC_KERNELS_LAYERS_LOOKUP_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct Lookup {
  const int32_t* index;  // [N], from 0 to U
  int64_t count;         // N
  int64_t touched;       // U
  int64_t dim;           // D
};

// Throws std::invalid_argument for an index that isn't in 0..touched.
[[noreturn]] void RefuseIndex(int64_t index, int64_t touched);

// `touched` is [U, D], `out` [N, D]; returns half_squares, accumulated in double. Throws
// std::invalid_argument where an index is out of range.
double LookupForward(const Lookup& lookup, const float* touched, float* out,
                     const Parallel& parallel);

// The gradient of `touched`, `out` [U, D], from that of the looked-up values, `upstream` [N, D],
// and that of half_squares: of each row the sum of upstream[n] + squares * touched[row], in the
// order of n. The indices must be those of a LookupForward.
void LookupBackward(const Lookup& lookup, const float* touched, const float* upstream,
                    float squares, float* out, const Parallel& parallel);

// Copies `count` rows of a table [size, dim] to `out` [count, dim]. Throws std::invalid_argument
// where one is outside the table.
void GatherRows(const float* table, int64_t size, int64_t dim, const int32_t* rows, int64_t count,
                float* out, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_LOOKUP_H_
