// All pairs between two sets of rows for a smooth loss, in time linear in the rows.

#ifndef HVDREC_KERNELS_PAIRWISE_PANELS_H_
#define HVDREC_KERNELS_PAIRWISE_PANELS_H_

#include <cstdint>

#include "kernels/base/parallel.h"
#include "kernels/pairwise/function.h"
#include "kernels/pairwise/side.h"
#include "kernels/pairwise/table.h"

namespace hvdrec {

// Adds up w_i f(s_i - s_j) over i in `upper`, j in `lower` (whose weights aren't used), and adds
// its derivatives by the scores to the sides' gradients. Rows of one panel of the table may be
// in any order.
//
// Time O(n p + B W p^2) and memory O(n + B p) for B occupied panels of order p, each acting on the
// at most W panels within the table's reach; beyond it, f is 0 or linear and is computed by running
// sums.
double SumOverPanels(const PairFunction& f, const PairTable& table, const PairSide& upper,
                     const PairSide& lower, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_PANELS_H_
