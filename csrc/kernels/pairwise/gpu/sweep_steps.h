// The hinge and square losses of large splits on a GPU: the pairs of a row that count are those
// with the other side's rows from some score on, so running sums over the rows and one search per
// row are enough.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_SWEEP_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_SWEEP_STEPS_H_

#include "kernels/pairwise/gpu/row_steps.h"

namespace hvdrec {
namespace pairwise_steps {

// With v = score - origin of a lower row and x = margin - (score - origin) of an upper one, a pair
// costs max(0, x + v), its square, or (x + v)^2. The origin, the middle lower score, keeps them
// small.
HVDREC_HD inline double Origin(const SortedRows& rows, const Sides& sides, int32_t lower) {
  return rows.u[sides.begin[lower] + sides.rows(lower) / 2];
}

// By position. For lower rows from each up: v and v^2. For upper rows from each down: w and w x.
struct SweepSums {
  double* first;
  double* second;
};

// One side per block; each thread has a range of rows.
struct SumSweep {
  static constexpr int kThreads = 256;
  struct Shared {
    double sums[2][kThreads];
  };
  using Local = Empty;

  SortedRows rows;
  Sides sides;
  int32_t side_count;
  double margin;
  SweepSums out;

  HVDREC_HD int64_t Steps(int64_t side) const {
    return sides.Panels(static_cast<int32_t>(side), side_count) ? 3 : 0;
  }
  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local*) const {
    if (step == 1) {
      if (thread > 1) return;
      double before = 0;
      for (int t = 0; t < kThreads; ++t) {
        const double own = shared->sums[thread][t];
        shared->sums[thread][t] = before;
        before += own;
      }
      return;
    }
    const auto side = static_cast<int32_t>(block);
    const bool upper = sides.upper(side);
    const double origin = Origin(rows, sides, upper ? side - 1 : side);
    const int64_t count = sides.rows(side), each = (count + kThreads - 1) / kThreads;
    double first = 0, second = 0;
    if (step == 2) {
      first = shared->sums[0][thread];
      second = shared->sums[1][thread];
    }
    for (int64_t k = thread * each; k < (thread + 1) * each && k < count; ++k) {
      const int64_t p = upper ? sides.begin[side] + k : sides.end[side] - 1 - k;
      const double v = rows.u[p] - origin;
      first += upper ? rows.weight[p] : v;
      second += upper ? rows.weight[p] * (margin - v) : v * v;
      if (step == 2) {
        out.first[p] = first;
        out.second[p] = second;
      }
    }
    if (step == 0) {
      shared->sums[0][thread] = first;
      shared->sums[1][thread] = second;
    }
  }
};

// Adds the effect of a level's large splits on each row's gradient and loss.
struct Sweep {
  SortedRows rows;
  const int32_t* order;
  Sides sides;
  int32_t side_count;
  PairValue f;
  SweepSums sums;
  double* gradient;  // by row, as `totals`
  Total* totals;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    if (!sides.Panels(side, side_count)) return;
    if (sides.upper(side)) {
      OfUpper(p, side - 1);
    } else {
      OfLower(p, side, side + 1);
    }
  }

  HVDREC_HD void OfUpper(int64_t p, int32_t lower) const {
    const double weight = rows.weight[p];
    if (weight == 0) return;
    Total& total = totals[order[p]];
    total.pairs += sides.rows(lower);
    // The lower rows with a score over u - margin.
    const int64_t from = f.loss == PairLoss::kSquare ? sides.begin[lower] : Above(p, lower);
    if (from == sides.end[lower]) return;
    const auto count = static_cast<double>(sides.end[lower] - from);
    const double x = f.margin - (rows.u[p] - Origin(rows, sides, lower));
    const double reach = count * x + sums.first[from];
    const bool hinge = f.loss == PairLoss::kHinge;
    total.loss +=
        weight * (hinge ? reach : x * (count * x + 2 * sums.first[from]) + sums.second[from]);
    gradient[order[p]] -= weight * (hinge ? count : 2 * reach);
  }

  HVDREC_HD void OfLower(int64_t p, int32_t side, int32_t upper) const {
    // The upper rows with a score below u + margin.
    const int64_t to = f.loss == PairLoss::kSquare ? sides.end[upper] : Below(p, upper);
    if (to == sides.begin[upper]) return;
    const double v = rows.u[p] - Origin(rows, sides, side);
    const double weight = sums.first[to - 1];
    gradient[order[p]] +=
        f.loss == PairLoss::kHinge ? weight : 2 * (sums.second[to - 1] + weight * v);
  }

  // Both compare scores in the same way, so that a pair counts for both of its rows or for neither.
  HVDREC_HD bool Counts(int64_t upper, int64_t lower) const {
    return rows.u[lower] > rows.u[upper] - f.margin;
  }
  HVDREC_HD int64_t Above(int64_t p, int32_t lower) const {
    int64_t low = sides.begin[lower], high = sides.end[lower];
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (Counts(p, middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
  HVDREC_HD int64_t Below(int64_t p, int32_t upper) const {
    int64_t low = sides.begin[upper], high = sides.end[upper];
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (Counts(middle, p)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_SWEEP_STEPS_H_
