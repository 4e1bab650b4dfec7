// Chebyshev tables of a pair function: how panels of the score axis act on each other.

#ifndef HVDREC_KERNELS_PAIRWISE_TABLE_H_
#define HVDREC_KERNELS_PAIRWISE_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/pairwise/function.h"

namespace hvdrec {

// The score axis is divided into panels of one width; panel number a spans width * [a, a + 1), and
// a score s in it has the coordinate x = 2 (s / width - a) - 1 in -1..1. For two panels at distance
// D = a - b,
//
//   f(s - t) = f(width (D + (x - y) / 2)) = sum over k, l of C[D][k][l] T_k(x) T_l(y)
//
// with Chebyshev polynomials T up to an error that depends only on the width and the order,
// because f is analytic in a strip around the real axis: nothing is singular at equal scores, so
// near panels are treated like far ones. (Panels and moments: Greengard and Rokhlin, "A fast
// algorithm for particle simulations", 1987.)
struct PairTable {
  int order = 0;  // polynomials per panel
  double width = 0;
  // Outside first..last f is 0 (above) or margin - t with derivative -1 (below), to the last bit.
  int64_t first = 0, last = 0;
  double margin = 0;
  double error = 0;  // largest, of value and slope, relative to the largest slope nearby
  // [last - first + 1][l][k]: coefficients of f and of its derivative; then the latter as [k][l].
  std::vector<double> value, slope, slope_transposed;

  bool InReach(double distance) const {
    return distance >= static_cast<double>(first) && distance <= static_cast<double>(last);
  }

  const double* At(const std::vector<double>& table, int64_t distance) const {
    return table.data() + (distance - first) * order * order;
  }
};

// The relative error that panels may add to input of type T.
template <typename T>
constexpr double kPanelTolerance = sizeof(T) == sizeof(float) ? 1e-8 : 1e-12;

// The table of smooth function `f` whose error is at most `tolerance` (at least 1e-12). Cached for
// the next call; safe to call from several threads.
std::shared_ptr<const PairTable> GetPairTable(const PairFunction& f, double tolerance);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_TABLE_H_
