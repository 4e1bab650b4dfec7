// Losses of the score differences of all pairs of rows with different labels.

#ifndef HVDREC_KERNELS_PAIRWISE_PAIRWISE_H_
#define HVDREC_KERNELS_PAIRWISE_PAIRWISE_H_

#include <cstdint>
#include <limits>

#include "kernels/base/parallel.h"
#include "kernels/pairwise/function.h"

namespace hvdrec {

// With u = score / temperature - label_scale * label, a pair (i, j) of one session with label_i >
// label_j costs weight_i * f(u_i - u_j); kernels/pairwise/function.h defines f.
struct PairwiseOptions {
  PairLoss loss = PairLoss::kLogistic;
  double temperature = 1;
  double margin = 0;
  double label_scale = 0;  // a margin of label_scale * (label_i - label_j)
  double gamma = 2;        // of kFocal, at least 0
  // Pairs with u_i - u_j at or above it don't count (kLogistic and kFocal).
  double limit = std::numeric_limits<double>::infinity();
  // Below 1: only the round(pairs * hardest) hardest count, those of them above 0 (not kSquare and
  // kSquaredHinge).
  double hardest = 1;
};

template <typename T>
struct PairwiseRows {
  const T* scores;
  const T* labels;          // graded
  const T* weights;         // nullptr: all are 1
  const int64_t* sessions;  // nullptr: all rows are one session
  int64_t count;
};

struct PairwiseResult {
  double loss = 0;       // mean over the pairs that count, of those whose weight isn't 0
  double pairs = 0;      // number of those
  int64_t bad_row = -1;  // the first row with a number that isn't finite: all results are NaN then
};

// The loss and its gradient by the scores ([count], overwritten).
//
// A sum over all pairs, without enumerating pairs where possible (n rows, L different labels;
// the divisions of the sessions and of the labels add no term):
//
//   logistic, focal               O(n log L)        panels of Chebyshev moments; float input to a
//                                                   relative error near 1e-8, double near 1e-12
//   hinge, squared hinge, square  O(n log n)        sorted, exact
//   hinge with `hardest`          O(n log n log L)  exact
//   logistic, focal with `limit`  O(n log n log L)  found exactly, summed by panels
//     or `hardest`
//
// Memory is O(n log L), never that of the pairs. Throws std::invalid_argument for invalid options.
template <typename T>
PairwiseResult Pairwise(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                        const Parallel& parallel, T* gradient);

// round(pairs * share), with halves to even; like EasyRec in float32 if that is exact for the
// number of pairs.
int64_t ShareOfPairs(int64_t pairs, double share);

// Throws std::invalid_argument where options can't be.
void CheckPairwise(const PairwiseOptions& options);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_PAIRWISE_H_
