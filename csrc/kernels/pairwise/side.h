// The rows on one side of a split, as used by all sums over pairs.

#ifndef HVDREC_KERNELS_PAIRWISE_SIDE_H_
#define HVDREC_KERNELS_PAIRWISE_SIDE_H_

#include <cstdint>

namespace hvdrec {

// One half of a split: rows in the order of scores.
struct PairSide {
  const double* scores;
  const double* weights;  // nullptr: all are 1
  double* gradient;       // added to
  int64_t count;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_SIDE_H_
