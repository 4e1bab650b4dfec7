// The bins of the pairwise losses, for rows in several processes.
//
// A smooth loss over all pairs needs of other rows only the Chebyshev moments of each label in each
// panel of the score axis (kernels/pairwise/table.h), and those are sums over rows. So processes
// that hold rows exchange sums instead of rows:
//
//   1. Each finds the bins, of label and panel, that contain its rows (FindBins); they gather
//   them.
//   2. Each makes the same list of all bins (MergeBins) and adds up its own rows' moments there
//      (kernels/pairwise/bin_sum.h: BinMoments); they add these up.
//   3. Each computes the loss over all rows and the gradient of its own (SumOverBins).

#ifndef HVDREC_KERNELS_PAIRWISE_BINS_H_
#define HVDREC_KERNELS_PAIRWISE_BINS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/pairwise/pairwise.h"
#include "kernels/pairwise/table.h"

namespace hvdrec {

// If there are more bins than this, they are not summed over.
constexpr int64_t kMostBins = 1024;
// A bin costs about as much as this many rows.
constexpr double kRowsPerBin = 32;

// The rows of one label in one panel.
struct PairBin {
  double label;
  double panel;     // scores are from width * panel on; whole, maybe beyond 2^53
  double rows;      // how many there are
  double weighing;  // how many of them have a weight that isn't 0
};

inline bool ComesBefore(const PairBin& a, const PairBin& b) {
  return a.label != b.label ? a.label < b.label : a.panel < b.panel;
}
inline bool SameBin(const PairBin& a, const PairBin& b) {
  return a.label == b.label && a.panel == b.panel;
}

// The rows of one process by bin: `order` lists the rows of the first bin, then those of the
// second, and so on.
struct PairBinRows {
  std::vector<PairBin> bins;   // in the order of ComesBefore
  std::vector<int32_t> order;  // [rows.count]
};

// The panels. Throws std::invalid_argument, as all that takes these arguments, unless `options` are
// those of the logistic or the focal loss over all pairs and `rows` have no sessions.
template <typename T>
std::shared_ptr<const PairTable> BinPanels(const PairwiseRows<T>& rows,
                                           const PairwiseOptions& options);

// The parameters of panels.
template <typename T>
double BinScore(const PairwiseRows<T>& rows, const PairwiseOptions& options, int64_t row) {
  return rows.scores[row] / options.temperature - options.label_scale * rows.labels[row];
}

// The bins of some rows. If they can't be summed over, because a number isn't finite or there are
// too many, a single one whose panel is NaN.
template <typename T>
PairBinRows FindBins(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                     const Parallel& parallel);

// All processes' bins in order, each once. Empty if summing over the rows themselves costs less, by
// `rows_per_bin`, or is the only way.
std::vector<PairBin> MergeBins(const PairBin* bins, int64_t count,
                               double rows_per_bin = kRowsPerBin);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_BINS_H_
