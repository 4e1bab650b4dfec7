// Pairs one by one, if there are few of them or there is no faster way.

#ifndef HVDREC_KERNELS_PAIRWISE_TILES_H_
#define HVDREC_KERNELS_PAIRWISE_TILES_H_

#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/pairwise/function.h"
#include "kernels/pairwise/panels.h"

namespace hvdrec {

struct PairSum {
  double value, slope;
};

// One row's pairs: the sums of f(score - others[j]) and of its derivatives; -weight times each
// derivative is added to the others' gradient.
PairSum AddPairs(const PairFunction& f, double score, double weight, const double* others,
                 double* gradient, int64_t count);

struct TileSum {
  double loss = 0;
  int64_t pairs = 0;  // those whose weight isn't 0
};

// All pairs of a few rows in the order of labels: sum of w_i f(s_i - s_j) over label_i > label_j,
// its derivatives added to `gradient`. `weights` may be nullptr.
template <typename T>
TileSum SumOverLeaf(const PairFunction& f, const double* scores, const T* labels,
                    const double* weights, double* gradient, int64_t count);

// Which lower rows an upper row makes pairs with: positions `all` and up of the lower side count
// fully, positions `some` .. `all` by the share that the caller passes.
struct PairRun {
  int64_t some, all;
};

// As SumOverPanels, over the pairs of `runs` ([upper.count]) only; pairs on the edge enter with
// `share`. Time is the number of those pairs, memory O(n).
double SumOverRuns(const PairFunction& f, const PairSide& upper, const PairSide& lower,
                   const std::vector<PairRun>& runs, double share, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_TILES_H_
