// Target attention on flat rows (Zhou et al., KDD 2018): the first product of its DNN, and the sum
// of a history weighted by the softmax of its scores; forward and backward.
//
// A batch has B rows with a query q [D] each; row b has lengths[b] of the E elements h [D], which
// are sorted by row. All arrays are row-major float32.

#ifndef HVDREC_KERNELS_LAYERS_ATTENTION_H_
#define HVDREC_KERNELS_LAYERS_ATTENTION_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct Histories {
  int64_t rows;            // B
  int64_t elements;        // E
  const int32_t* lengths;  // [B]
};

// The product [q, h, q - h, q * h] K of each element with a kernel K [4 D, O], whose four parts are
// Kq, Kh, Kd and Kp:
//
//   linear = q (Kq + Kd) + h M, with M = Kh - Kd + diag(q) Kp
//
// M belongs to a row: an element costs a quarter of the multiplications of the product as written.
// With `padded`, a position per row follows the elements, where `padding` [D] stands for h.
struct AttentionProduct {
  Histories histories;
  int64_t width;    // D
  int64_t outputs;  // O
  bool padded;
  const float* query;    // [B, D]
  const float* values;   // [E, D]
  const float* padding;  // [D], nullptr for zeros
  const float* kernel;   // [4 D, O]
};

struct AttentionProductGradients {
  float* query;    // [B, D]
  float* values;   // [E, D]
  float* padding;  // [D], nullptr where that is
  float* kernel;   // [4 D, O]
};

// `linear` is [E, O], with `padded` [E + B, O]. Throws std::invalid_argument if the sum of the
// lengths isn't E, or one is negative; so do all of these.
void AttentionProductForward(const AttentionProduct& product, float* linear,
                             const Parallel& parallel);

// Gradients from that of `linear`.
void AttentionProductBackward(const AttentionProduct& product, const float* upstream,
                              const AttentionProductGradients& out, const Parallel& parallel);

// shares [E] = the softmax of `scores` [E] over the elements of each row, and attended [B, D] = the
// sum of a row's elements `values` [E, D] times their shares; zeros for a row without elements.
void AttendForward(const Histories& histories, int64_t width, const float* scores,
                   const float* values, float* attended, float* shares, const Parallel& parallel);

// Gradients of `scores` and `values` from those of `attended` and of `shares`.
void AttendBackward(const Histories& histories, int64_t width, const float* shares,
                    const float* values, const float* by_attended, const float* by_shares,
                    float* by_scores, float* by_values, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_ATTENTION_H_
