// The second-order part of a factorisation machine (Rendle, 2010, equation 3), without the sum over
// an embedding's columns:
//
//   out[b, d] = ((sum_f x[b, f, d])^2 - sum_f x[b, f, d]^2) / 2
//
// All arrays are row-major float32: x is [B, F, D].

#ifndef HVDREC_KERNELS_LAYERS_PAIR_PRODUCTS_H_
#define HVDREC_KERNELS_LAYERS_PAIR_PRODUCTS_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct FieldShape {
  int64_t rows;    // B
  int64_t fields;  // F
  int64_t dim;     // D
};

void PairProducts(const FieldShape& shape, const float* x, float* out, const Parallel& parallel);

// The gradient of x, upstream[b, d] * (sum_g x[b, g, d] - x[b, f, d]), plus `other`, which is
// nullptr or another gradient of x, in whose memory `out` may be; upstream is [B, D].
void PairProductsBackward(const FieldShape& shape, const float* x, const float* upstream,
                          const float* other, float* out, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_PAIR_PRODUCTS_H_
