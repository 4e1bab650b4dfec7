// Which rows make pairs: rows are sorted and split by label until in every split all rows of one
// half are below those of the other.

#ifndef HVDREC_KERNELS_PAIRWISE_PLAN_H_
#define HVDREC_KERNELS_PAIRWISE_PLAN_H_

#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/base/scratch.h"

namespace hvdrec {

// Positions [begin, middle) of a level contain rows with lower labels than [middle, end), all of
// one session; each half is in the order of scores. All pairs between the halves count.
struct PairSplit {
  int64_t begin, middle, end;
};

// Places [begin, end) of `leaf_rows`: few rows of one session, by rising label.
struct PairLeaf {
  int64_t begin, end;
};

// The positions of the rows of a level: the row at each position, or the position of each row. The
// latter is for levels of all rows: rows are then processed in their own order, which corresponds
// to a few interleaved ranges of the level, so that neither side of a move is random memory access.
struct PairLevel {
  Scratch<int32_t> rows;
  Scratch<int32_t> places;
  std::vector<PairSplit> splits;

  int64_t size() const {
    return static_cast<int64_t>(places.empty() ? rows.size() : places.size());
  }
};

// Every pair of rows of one session with different labels is in exactly one split or leaf. Two
// labels make one level, L labels about log2(L).
struct PairPlan {
  std::vector<PairLevel> levels;
  std::vector<int32_t> leaf_rows;
  std::vector<PairLeaf> leaves;
};

struct PairPlanOptions {
  // Above 0: rows of one panel of this width (kernels/pairwise/table.h) may be in any order.
  double panel_width = 0;
  // Groups of at most this many rows become leaves.
  int64_t leaf_size = 0;
};

// Plans the pairs of `n` rows (at most 2^31 - 1) with finite scores and labels.
//
// Args:
//   scores: [n].
//   labels: [n], graded.
//   sessions: [n], or nullptr if all rows are one session.
template <typename T>
PairPlan PlanPairs(const double* scores, const T* labels, const int64_t* sessions, int64_t n,
                   const PairPlanOptions& options, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_PLAN_H_
