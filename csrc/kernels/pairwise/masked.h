// The pairs that a mask selects, for a smooth loss, in time nearly linear in the rows.

#ifndef HVDREC_KERNELS_PAIRWISE_MASKED_H_
#define HVDREC_KERNELS_PAIRWISE_MASKED_H_

#include <vector>

#include "kernels/pairwise/panels.h"
#include "kernels/pairwise/tiles.h"

namespace hvdrec {

// Like SumOverRuns, up to the error of `table`. Both sides must be in the order of scores.
//
// A run is a half line of the lower scores. Its whole panels act on an upper row through sums over
// the panels from each one on; in the panel that contains its edge, whole blocks of a few rows act
// through sums over the blocks from each one on, and only the rows between the edge and the next
// block act one by one. The lower rows' gradient is computed in the reverse way. An upper row
// therefore costs O(p^2), wherever its edge is: runs need not be nested.
//
// Time O(n p^2 + B W p^2), memory O(n).
double SumOverMaskedPanels(const PairFunction& f, const PairTable& table, const PairSide& upper,
                           const PairSide& lower, const std::vector<PairRun>& runs, double share,
                           const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_MASKED_H_
