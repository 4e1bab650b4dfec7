// The pairwise loss by moments of cells: see kernels/pair_cells.h for how processes make it
// together.

#ifndef HVDREC_KERNELS_PAIR_CELL_SUM_H_
#define HVDREC_KERNELS_PAIR_CELL_SUM_H_

#include <cstdint>
#include <vector>

#include "kernels/pair_cells.h"
#include "kernels/pairwise.h"
#include "kernels/parallel.h"

namespace hvdrec {

// How many numbers CellMoments gives for each cell.
template <typename T>
int64_t MomentsPerCell(const PairwiseRows<T>& rows, const PairwiseOptions& options);

// The rows' moments in each of the cells `all`, which must have all of `own`: [all][k] of w T_k(x);
// of rows with weights [all][2][k], the second without w.
template <typename T>
std::vector<double> CellMoments(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                                const PairCellRows& own, const std::vector<PairCell>& all,
                                const Parallel& parallel);

// The loss over the rows of all cells, of which `moments` are, and its gradient by the scores of
// `rows` ([rows.count], overwritten). As exact as the panels of kernels/pairwise.h. The loss has
// the same bits in all processes that are given the same cells and moments.
//
// Time O(n p + E W p^2) for n rows of this process and E cells, p and W as in
// kernels/pair_panels.h; memory O(n + E p).
template <typename T>
PairwiseResult SumOverCells(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                            const PairCellRows& own, const std::vector<PairCell>& all,
                            const double* moments, const Parallel& parallel, T* gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIR_CELL_SUM_H_
