// The pairwise loss by moments of bins: see kernels/pairwise/bins.h for how processes make it
// together.

#ifndef HVDREC_KERNELS_PAIRWISE_BIN_SUM_H_
#define HVDREC_KERNELS_PAIRWISE_BIN_SUM_H_

#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/pairwise/bins.h"
#include "kernels/pairwise/pairwise.h"

namespace hvdrec {

// The number of values of BinMoments for each bin.
template <typename T>
int64_t MomentsPerBin(const PairwiseRows<T>& rows, const PairwiseOptions& options);

// The rows' moments in each of the bins `all`, which must have all of `own`: [all][k] of w T_k(x);
// of rows with weights [all][2][k], the second without w.
template <typename T>
std::vector<double> BinMoments(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                               const PairBinRows& own, const std::vector<PairBin>& all,
                               const Parallel& parallel);

// The loss over the rows of all bins, which have `moments`, and its gradient by the scores of
// `rows` ([rows.count], overwritten). As exact as the panels of kernels/pairwise/pairwise.h. The
// loss has the same bits in all processes that are given the same bins and moments.
//
// Time O(n p + E W p^2) for n rows of this process and E bins, p and W as in
// kernels/pairwise/panels.h; memory O(n + E p).
template <typename T>
PairwiseResult SumOverBins(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                           const PairBinRows& own, const std::vector<PairBin>& all,
                           const double* moments, const Parallel& parallel, T* gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_BIN_SUM_H_
