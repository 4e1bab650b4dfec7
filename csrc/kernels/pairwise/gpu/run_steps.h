// Steps of the pairwise losses on a GPU that find the pairs that a limit or a share of hardest
// pairs selects, without enumerating pairs, as kernels/pairwise/hardest.h does on the CPU.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_RUN_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_RUN_STEPS_H_

#include "kernels/pairwise/gpu/row_steps.h"

namespace hvdrec {
namespace pairwise_steps {

// By place of an upper row: it makes pairs with the lower rows from place `all` of the level on,
// and by a share with those in some .. all.
struct Runs {
  int32_t* some;
  int32_t* all;
};

struct Counted {
  int64_t value = 0;
  HVDREC_HD void Add(const Counted& other) { value += other.value; }
};

// Initially all pairs are selected.
struct OpenRuns {
  SortedRows rows;
  Sides sides;
  Runs runs;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    if (sides.upper(side)) runs.some[p] = runs.all[p] = sides.begin[side - 1];
  }
};

// Selects the pairs whose lead is below `limit`.
struct CutAtLead {
  SortedRows rows;
  Sides sides;
  double limit;
  bool positive;  // those of rows whose weight is above 0
  Runs runs;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    if (!sides.upper(side)) return;
    int32_t low = runs.some[p], high = sides.end[side - 1];
    if (positive && !(rows.weight[p] > 0)) low = high;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      if (rows.u[p] - rows.u[middle] < limit) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    runs.some[p] = runs.all[p] = low;
  }
};

// Adds up, over the levels, the pairs that each place's row makes from `from` on.
struct CountPairs {
  SortedRows rows;
  Sides sides;
  const int32_t* from;
  bool weighing;  // those whose weight isn't 0
  bool first;     // level
  Counted* counts;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    int64_t pairs = first ? 0 : counts[p].value;
    if (sides.upper(side) && !(weighing && rows.weight[p] == 0)) {
      pairs += sides.end[side - 1] - from[p];
    }
    counts[p].value = pairs;
  }
};

// The hardness of a pair, as a number that increases along the lower side.
struct Hardness {
  SortedRows rows;
  PairValue f;
  bool weighted;

  HVDREC_HD double operator()(int64_t upper, int64_t lower) const {
    const double lead = rows.u[upper] - rows.u[lower];
    if (!weighted) return -lead;
    double value, slope;
    f(lead, &value, &slope);
    return rows.weight[upper] * value;
  }
};

// Bisection for the hardness that a given number of pairs reaches, over the bits of all doubles
// (OrderedBits): `low` is reached, `high` isn't.
struct Bisection {
  enum Move : int32_t { kNone, kLow, kHigh };

  uint64_t low, high;
  Move move;     // which of them the last step moved
  double share;  // by which pairs on the edge count, at the end

  HVDREC_HD uint64_t middle() const { return low + (high - low) / 2; }
};
constexpr int kBisections = 64;

struct StartBisection {
  Bisection* bisection;

  HVDREC_HD void operator()(int64_t) const {
    bisection->low = OrderedBits(static_cast<double>(-INFINITY));
    bisection->high = OrderedBits(static_cast<double>(INFINITY)) + 1;
    bisection->move = Bisection::kNone;
    bisection->share = 0;
  }
};

// Between which places of the lower side the edge of each row is: from `some` on pairs reach the
// lower bound of the bisection, from `all` on the upper one.
struct OpenEdges {
  SortedRows rows;
  Sides sides;
  Runs runs;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    if (sides.upper(side)) runs.all[p] = sides.end[side - 1];
  }
};

// Applies the bisection's last step, with the `middle` of SearchEdges.
struct NarrowEdges {
  SortedRows rows;
  Sides sides;
  const Bisection* bisection;
  const int32_t* middle;
  Runs runs;

  HVDREC_HD void operator()(int64_t p) const {
    if (!sides.upper(rows.side[p])) return;
    if (bisection->move == Bisection::kLow) runs.some[p] = middle[p];
    if (bisection->move == Bisection::kHigh) runs.all[p] = middle[p];
  }
};

// From which place on each row's pairs are at least as hard as the middle of the bisection, and how
// many such pairs there are.
struct SearchEdges {
  Hardness hardness;
  Sides sides;
  const Bisection* bisection;
  bool first;  // level
  Runs runs;
  int32_t* middle;
  Counted* counts;

  HVDREC_HD void operator()(int64_t p) const {
    NarrowEdges{hardness.rows, sides, bisection, middle, runs}(p);
    int64_t pairs = first ? 0 : counts[p].value;
    const int32_t side = hardness.rows.side[p];
    if (sides.upper(side)) {
      const double least = FromOrderedBits(bisection->middle());
      int32_t low = runs.some[p], high = runs.all[p];
      while (low < high) {
        const int32_t at = low + (high - low) / 2;
        if (hardness(p, at) >= least) {
          high = at;
        } else {
          low = at + 1;
        }
      }
      middle[p] = low;
      pairs += sides.end[side - 1] - low;
    }
    counts[p].value = pairs;
  }
};

struct Bisect {
  const Counted* reached;
  int64_t kept;
  Bisection* bisection;

  HVDREC_HD void operator()(int64_t) const {
    Bisection& b = *bisection;
    if (b.high - b.low < 2) {
      b.move = Bisection::kNone;
      return;
    }
    const bool enough = reached->value >= kept;
    (enough ? b.low : b.high) = b.middle();
    b.move = enough ? Bisection::kLow : Bisection::kHigh;
  }
};

// The places left by harder pairs are shared by all pairs as hard as the last.
struct ShareEdge {
  const Counted* reached;
  const Counted* harder;
  int64_t kept;
  Bisection* bisection;

  HVDREC_HD void operator()(int64_t) const {
    bisection->share = static_cast<double>(kept - harder->value) /
                       static_cast<double>(reached->value - harder->value);
  }
};

struct GivePairs {
  double pairs;
  Total* totals;

  HVDREC_HD void operator()(int64_t) const { totals->pairs = pairs; }
};

// The effect of a level's runs on each row's gradient and loss, for sides computed pair by pair.
struct SumRuns {
  SortedRows rows;
  const int32_t* order;
  Sides sides;
  int32_t side_count;
  PairValue f;
  Runs runs;
  const double* share;
  double* gradient;  // by row, as `totals`
  Total* totals;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p], partner = sides.Partner(side, side_count);
    if (partner < 0 || sides.Panels(side, side_count)) return;
    const int32_t row = order[p];
    double value = 0, slope = 0;
    if (sides.upper(side)) {
      for (int32_t q = runs.some[p]; q < sides.end[partner]; ++q) Add(p, q, &value, &slope);
      totals[row].loss += value;
      gradient[row] += slope;
    } else {
      for (int32_t q = sides.begin[partner]; q < sides.end[partner]; ++q) {
        if (runs.some[q] <= p) Add(q, p, &value, &slope);
      }
      gradient[row] -= slope;
    }
  }

  HVDREC_HD void Add(int64_t upper, int64_t lower, double* value, double* slope) const {
    const double weight = rows.weight[upper] * (lower < runs.all[upper] ? *share : 1.0);
    if (weight == 0) return;
    double v, s;
    f(rows.u[upper] - rows.u[lower], &v, &s);
    *value += weight * v;
    *slope += weight * s;
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_RUN_STEPS_H_
