// The cells of the pairwise losses: where the rows of several processes lie.
//
// A smooth loss over all pairs needs of other rows only the Chebyshev moments of each label in each
// panel of the score axis (kernels/pair_table.h), and those are sums over rows. So processes that
// hold rows exchange sums instead of rows:
//
//   1. Each finds the cells, of label and panel, that its rows lie in (FindCells); they gather
//   them.
//   2. Each makes the same list of all cells (MergeCells) and adds up its own rows' moments there
//      (kernels/pair_cell_sum.h: CellMoments); they add these up.
//   3. Each computes the loss over all rows and the gradient of its own (SumOverCells).

#ifndef HVDREC_KERNELS_PAIR_CELLS_H_
#define HVDREC_KERNELS_PAIR_CELLS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/pair_table.h"
#include "kernels/pairwise.h"
#include "kernels/parallel.h"

namespace hvdrec {

// More cells than this are not summed over.
constexpr int64_t kMostCells = 1024;
// A cell costs about as much as so many rows.
constexpr double kRowsPerCell = 32;

// The rows of one label in one panel.
struct PairCell {
  double label;
  double panel;     // scores are from width * panel on; whole, maybe beyond 2^53
  double rows;      // how many there are
  double weighing;  // how many of them have a weight that isn't 0
};

inline bool ComesBefore(const PairCell& a, const PairCell& b) {
  return a.label != b.label ? a.label < b.label : a.panel < b.panel;
}
inline bool SameCell(const PairCell& a, const PairCell& b) {
  return a.label == b.label && a.panel == b.panel;
}

// The rows of one process by cell: `order` lists the rows of the first cell, then those of the
// second, and so on.
struct PairCellRows {
  std::vector<PairCell> cells;  // in the order of ComesBefore
  std::vector<int32_t> order;   // [rows.count]
};

// The panels. Throws std::invalid_argument, as all that takes these arguments, unless `options` are
// those of the logistic or the focal loss over all pairs and `rows` have no sessions.
template <typename T>
std::shared_ptr<const PairTable> CellPanels(const PairwiseRows<T>& rows,
                                            const PairwiseOptions& options);

// What panels are made of.
template <typename T>
double CellScore(const PairwiseRows<T>& rows, const PairwiseOptions& options, int64_t row) {
  return rows.scores[row] / options.temperature - options.label_scale * rows.labels[row];
}

// The cells of some rows. Where they can't be summed over, because a number isn't finite or they
// are too many, a single one whose panel is no number.
template <typename T>
PairCellRows FindCells(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                       const Parallel& parallel);

// All processes' cells in order, each once. Empty where summing over the rows themselves costs
// less, by `rows_per_cell`, or is the only way.
std::vector<PairCell> MergeCells(const PairCell* cells, int64_t count,
                                 double rows_per_cell = kRowsPerCell);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIR_CELLS_H_
