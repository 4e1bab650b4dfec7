// Finds the pairs that a mask or hard-example mining selects, without enumerating pairs.

#ifndef HVDREC_KERNELS_PAIRWISE_HARDEST_H_
#define HVDREC_KERNELS_PAIRWISE_HARDEST_H_

#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/pairwise/function.h"
#include "kernels/pairwise/tiles.h"

namespace hvdrec {

// One split and which of its pairs are selected. Every loss here decreases with the lead, and lower
// rows are sorted, so the pairs of an upper row that a threshold selects are a run at the end of
// the lower side.
struct PairCut {
  PairSide upper, lower;
  std::vector<PairRun> runs;  // [upper.count]
};

// Selects the pairs whose lead is below `limit`.
void CutAtLead(double limit, std::vector<PairCut>* cuts, const Parallel& parallel);

// The number of selected pairs; without those of weight 0 if `weighted`.
int64_t CountPairs(const std::vector<PairCut>& cuts, bool weighted);

struct HardestPairs {
  int64_t kept = 0;
  double share = 0;  // by which pairs on the edge are in
};

// Of the selected pairs, keeps the `count` with the largest loss w_i f(t), as far as that is above
// 0. Pairs equal to the last one share the remaining places. `f` is logistic, focal or hinge.
//
// Exact: the loss of the last place is found by bisection over all doubles, in O(n log n); without
// weights it is the lead that is bisected.
HardestPairs KeepHardest(const PairFunction& f, int64_t count, std::vector<PairCut>* cuts,
                         const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_HARDEST_H_
