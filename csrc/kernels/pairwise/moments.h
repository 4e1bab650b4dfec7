// Chebyshev moments of rows in a panel of the score axis, and the effect of other panels' moments
// on such rows; kernels/pairwise/table.h defines panels and coordinates. P is the order.

#ifndef HVDREC_KERNELS_PAIRWISE_MOMENTS_H_
#define HVDREC_KERNELS_PAIRWISE_MOMENTS_H_

#include <algorithm>
#include <cstdint>

#include "kernels/base/vector_math.h"

namespace hvdrec {

inline Doubles PanelCoordinate(Doubles scores, double number, double width) {
  return (scores * (1 / width) - number) * 2.0 - 1.0;
}

// out[k] += sum over rows of w T_k(x), for rows of panel `number`; `weights` may be nullptr.
template <int P>
void AddMoments(const double* scores, const double* weights, int64_t count, double number,
                double width, double* out) {
  Doubles sums[P] = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t left = count - i;
    Doubles x, w;
    if (left >= kLanes) {
      x = Load(scores + i);
      w = weights == nullptr ? Fill(1.0) : Load(weights + i);
    } else {
      x = LoadSome(scores + i, left, scores[i]);
      const Doubles one = Fill(1.0);
      w = LoadSome(weights == nullptr ? reinterpret_cast<const double*>(&one) : weights + i, left,
                   0.0);
    }
    x = PanelCoordinate(x, number, width);
    const Doubles twice = x * 2.0;
    Doubles before = w, now = w * x;
    sums[0] += before;
    sums[1] += now;
    for (int k = 2; k < P; ++k) {
      const Doubles following = twice * now - before;
      before = now;
      now = following;
      sums[k] += now;
    }
  }
  for (int k = 0; k < P; ++k) out[k] += Sum(sums[k]);
}

// The sum of w s over the rows of a panel, from its moments.
inline double SumOfScores(const double* moments, double number, double width) {
  return (number + 0.5) * width * moments[0] + width / 2 * moments[1];
}

// out += C m for the coefficients [l][k] of one panel pair.
template <int P>
void Interact(const double* coefficients, const double* moments, double* out) {
  for (int l = 0; l < P; ++l) {
    for (int k = 0; k < P; ++k) out[k] += coefficients[l * P + k] * moments[l];
  }
}

// Adds scale * w * (sum over k of c_k T_k(x) + shift) to the gradient of rows of panel `number`.
template <int P>
void AddPotential(const double* scores, const double* weights, int64_t count, double number,
                  double width, const double* c, double scale, double shift, double* gradient) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t left = std::min<int64_t>(count - i, kLanes);
    const Doubles some = left == kLanes ? Load(scores + i) : LoadSome(scores + i, left, scores[i]);
    const Doubles x = PanelCoordinate(some, number, width);
    const Doubles twice = x * 2.0;
    Doubles next = Fill(0.0), now = Fill(c[P - 1]);  // Clenshaw's recurrence
    for (int k = P - 2; k >= 1; --k) {
      const Doubles earlier = twice * now - next + c[k];
      next = now;
      now = earlier;
    }
    const Doubles value = (x * now - next + c[0] + shift) * scale;
    for (int64_t k = 0; k < left; ++k) {
      gradient[i + k] += weights == nullptr ? value[k] : weights[i + k] * value[k];
    }
  }
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_MOMENTS_H_
