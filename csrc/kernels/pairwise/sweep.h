// All pairs between two sorted sets of rows for the hinge and square losses, exactly.

#ifndef HVDREC_KERNELS_PAIRWISE_SWEEP_H_
#define HVDREC_KERNELS_PAIRWISE_SWEEP_H_

#include <vector>

#include "kernels/pairwise/panels.h"
#include "kernels/pairwise/tiles.h"

namespace hvdrec {

// As SumOverPanels for max(0, m - t)^degree, degree 1 or 2: O(n) by sums over the rows in reach,
// which move along the sorted scores. (For the square and squared hinge: Rust and Hocking, "A log-
// linear gradient descent algorithm for unbalanced binary classification using the all pairs
// squared hinge loss", arXiv 2302.11062.) With weights of one sign nothing cancels: the sums are
// taken around the moving edge.
double SweepHinge(double margin, int degree, const PairSide& upper, const PairSide& lower);

// As SumOverPanels for (m - t)^2.
double SumSquares(double margin, const PairSide& upper, const PairSide& lower);

// As SumOverRuns for max(0, m - t), with all pairs of the runs below the margin.
double SweepHingeRuns(double margin, const PairSide& upper, const PairSide& lower,
                      const std::vector<PairRun>& runs, double share);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_SWEEP_H_
