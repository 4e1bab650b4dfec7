// The steps of the pairwise losses on a GPU, these are the last: the results of each row. See
// kernels/pairwise/gpu/twin.h for their order.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_ROW_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_ROW_STEPS_H_

#include "kernels/gpu/steps.h"
#include "kernels/pairwise/gpu/bin_steps.h"
#include "kernels/pairwise/gpu/side_steps.h"
#include "kernels/pairwise/gpu/value.h"

namespace hvdrec {
namespace pairwise_steps {

struct Total {
  double loss = 0;
  double pairs = 0;  // those whose weight isn't 0
  HVDREC_HD void Add(const Total& other) {
    loss += other.loss;
    pairs += other.pairs;
  }
};

// Adds the effect of a level on each row's gradient and loss.
template <int P>
struct Evaluate {
  SortedRows rows;
  const int32_t* order;
  Sides sides;
  Bins bins;
  int32_t side_count;
  const int32_t* bin_of;  // from 1; nullptr: Sweep takes the sides that go by panels else
  double inverse_width;
  PairValue f;
  double* gradient;  // by row, as `totals`
  Total* totals;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p], partner = sides.Partner(side, side_count);
    if (partner < 0) return;
    const bool panels = sides.Panels(side, side_count);
    if (panels && bin_of == nullptr) return;
    const bool upper = sides.upper(side);
    const double weight = rows.weight[p];
    if (upper && weight == 0) return;
    const int32_t row = order[p];
    Total& total = totals[row];
    if (upper) total.pairs += sides.rows(partner);
    if (panels) {
      const int64_t bin = bin_of[p] - 1;
      const double x = Coordinate(rows.u[p], bins.panel[bin], inverse_width);
      const double slope = Series<P>(bins.slope + bin * P, x);
      gradient[row] += upper ? weight * (slope - bins.far[bin]) : bins.far[bin] - slope;
    } else {
      double value = 0, slope = 0;
      for (int32_t q = sides.begin[partner]; q < sides.end[partner]; ++q) {
        double v, s;
        f(upper ? rows.u[p] - rows.u[q] : rows.u[q] - rows.u[p], &v, &s);
        const double w = upper ? 1.0 : rows.weight[q];
        value += w * v;
        slope += w * s;
      }
      gradient[row] += upper ? weight * slope : -slope;
      if (upper) total.loss += weight * value;
    }
  }
};

// Each bin's loss is added to its first row, so that only the rows' totals must be added up.
struct GiveBinLoss {
  const int32_t* order;
  Sides sides;
  Bins bins;
  int32_t side_count;
  Total* totals;

  HVDREC_HD void operator()(int64_t c) const {
    if (sides.Panels(bins.side[c], side_count)) totals[order[bins.begin[c]]].loss += bins.loss[c];
  }
};

// The mean's gradient by the scores.
template <typename T>
struct Finish {
  const double* gradient;
  const Total* total;
  double temperature;
  T* out;

  HVDREC_HD void operator()(int64_t i) const {
    const double scale = total->pairs > 0 ? 1 / total->pairs : 0.0;
    out[i] = static_cast<T>(gradient[i] * (scale / temperature));
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_ROW_STEPS_H_
