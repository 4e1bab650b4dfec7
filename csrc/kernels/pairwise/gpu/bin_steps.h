// Steps of the pairwise losses on a GPU that sum over bins: the rows of a side in one panel of the
// score axis (kernels/pairwise/table.h).

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_BIN_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_BIN_STEPS_H_

#include "kernels/gpu/steps.h"
#include "kernels/pairwise/gpu/side_steps.h"

namespace hvdrec {
namespace pairwise_steps {

constexpr int64_t kPieceRows = 2048;

// Rows in the order of side and score.
struct SortedRows {
  double* u;
  double* weight;
  double* panel;  // number; whole, maybe beyond 2^53
  int32_t* side;
};

template <typename T>
struct Line {
  const double* u;
  const T* weights;
  const int32_t* row_side;
  const int32_t* order;
  double inverse_width;
  SortedRows out;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t row = order[p];
    out.u[p] = u[row];
    out.weight[p] = weights == nullptr ? 1.0 : static_cast<double>(weights[row]);
    out.panel[p] = floor(u[row] * inverse_width);
    out.side[p] = row_side[row];
  }
};

// 1 where a bin begins: the rows of a side in one panel.
struct BinHeads {
  SortedRows rows;
  int32_t* heads;

  HVDREC_HD void operator()(int64_t p) const {
    heads[p] = p == 0 || rows.side[p] != rows.side[p - 1] || rows.panel[p] != rows.panel[p - 1];
  }
};

// The bins of a level in order, so those of a side by rising panel.
struct Bins {
  double* panel;
  int32_t* begin;
  int32_t* end;
  int32_t* side;
  int32_t* pieces;     // of kPieceRows rows; 0 if the side is computed pair by pair
  double* running[2];  // for what lies beyond reach; see RunningSums
  double* moments;     // [P]: sums of w T_k(x)
  double* slope;       // [P]: coefficients of what acts on the bin's rows within reach,
  double* far;         // and the weight of the rows beyond,
  double* loss;        // and the loss of those pairs, for upper sides
};

struct FillBins {
  SortedRows rows;
  const int32_t* heads;
  const int32_t* bin_of;  // from 1
  int64_t count;
  int32_t side_count;
  Sides sides;
  Bins bins;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t bin = bin_of[p] - 1, side = rows.side[p];
    if (heads[p]) {
      bins.panel[bin] = rows.panel[p];
      bins.begin[bin] = static_cast<int32_t>(p);
      bins.side[bin] = side;
      if (p == sides.begin[side]) sides.first_bin[side] = bin;
    }
    if (p + 1 == count || heads[p + 1]) {
      bins.end[bin] = static_cast<int32_t>(p + 1);
      if (p + 1 == sides.end[side]) sides.last_bin[side] = bin + 1;
    }
  }
};

struct CountPieces {
  int32_t side_count;
  Sides sides;
  Bins bins;

  HVDREC_HD void operator()(int64_t c) const {
    const int64_t rows = bins.end[c] - bins.begin[c];
    bins.pieces[c] = sides.Panels(bins.side[c], side_count)
                         ? static_cast<int32_t>((rows + kPieceRows - 1) / kPieceRows)
                         : 0;
  }
};

// A score's place in its panel, -1 to 1.
HVDREC_HD inline double Coordinate(double u, double panel, double inverse_width) {
  return (u * inverse_width - panel) * 2 - 1;
}

// The sum of c_k T_k(x), by Clenshaw's recurrence.
template <int P>
HVDREC_HD inline double Series(const double* c, double x) {
  double next = 0, now = c[P - 1];
  for (int k = P - 2; k >= 1; --k) {
    const double earlier = 2 * x * now - next + c[k];
    next = now;
    now = earlier;
  }
  return x * now - next + c[0];
}

// Rows of a bin, for PieceMoments.
struct BinRows {
  SortedRows rows;
  Sides sides;
  Bins bins;
  double inverse_width;

  HVDREC_HD int64_t begin(int64_t bin) const { return bins.begin[bin]; }
  HVDREC_HD int64_t end(int64_t bin) const { return bins.end[bin]; }
  HVDREC_HD void Row(int64_t p, int64_t bin, double* x, double* weight) const {
    *x = Coordinate(rows.u[p], bins.panel[bin], inverse_width);
    *weight = sides.upper(bins.side[bin]) ? rows.weight[p] : 1.0;
  }
};

// Adds w T_k(x) for all k.
template <int P>
HVDREC_HD inline void AddMoment(double x, double weight, double* sums) {
  double before = weight;
  double now = before * x;
  sums[0] += before;
  sums[1] += now;
  for (int k = 2; k < P; ++k) {
    const double following = 2 * x * now - before;
    before = now;
    now = following;
    sums[k] += now;
  }
}

// The moments of one piece of a bin, or of another group of rows, per block. `Source` has begin(c)
// and end(c) of a group, and Row(r, c, &x, &weight) for the rows between them.
template <int P, typename Source>
struct PieceMoments {
  static constexpr int kThreads = 128;
  struct Shared {
    double parts[kThreads][P];
  };
  using Local = Empty;

  Source source;
  int64_t count;                 // of groups
  const int32_t* pieces;         // by group
  const int32_t* pieces_before;  // its own included
  double* out;                   // [piece][P]

  HVDREC_HD int64_t Steps(int64_t) const { return 2; }
  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local*) const {
    if (step == 1) {
      if (thread >= P) return;
      double sum = 0;
      for (int t = 0; t < kThreads; ++t) sum += shared->parts[t][thread];
      out[block * P + thread] = sum;
      return;
    }
    const int64_t group = FirstAtLeast(pieces_before, count, static_cast<int32_t>(block) + 1);
    const int64_t piece = block - (pieces_before[group] - pieces[group]);
    const int64_t begin = source.begin(group) + piece * kPieceRows, last = source.end(group);
    const int64_t end = begin + kPieceRows < last ? begin + kPieceRows : last;
    double sums[P] = {};
    for (int64_t r = begin + thread; r < end; r += kThreads) {
      double x, weight;
      source.Row(r, group, &x, &weight);
      AddMoment<P>(x, weight, sums);
    }
    for (int k = 0; k < P; ++k) shared->parts[thread][k] = sums[k];
  }
};

// Adds the pieces of each group up; for number i % P of group i / P.
template <int P>
struct AddPieces {
  const int32_t* pieces;
  const int32_t* pieces_before;
  const double* in;
  double* out;

  HVDREC_HD void operator()(int64_t i) const {
    const int64_t group = i / P;
    double sum = 0;
    for (int64_t q = pieces_before[group] - pieces[group]; q < pieces_before[group]; ++q) {
      sum += in[q * P + i % P];
    }
    out[i] = sum;
  }
};

// Running sums over the bins of a side, one block each, including the bin's own: for lower sides
// counts and scores from each bin up, for upper sides weights from each bin down.
template <int P>
struct RunningSums {
  static constexpr int kThreads = 256;
  struct Shared {
    double sums[2][kThreads];
  };
  using Local = Empty;

  Sides sides;
  Bins bins;
  int32_t side_count;
  double width;

  HVDREC_HD double Weight(int64_t c) const { return bins.moments[c * P]; }
  HVDREC_HD double Score(int64_t c) const {
    return (bins.panel[c] + 0.5) * width * bins.moments[c * P] +
           width / 2 * bins.moments[c * P + 1];
  }

  HVDREC_HD int64_t Steps(int64_t side) const {
    return sides.Panels(static_cast<int32_t>(side), side_count) ? 3 : 0;
  }
  HVDREC_HD void Step(int64_t step, int64_t side, int thread, Shared* shared, Local*) const {
    const int64_t first = sides.first_bin[side];
    const int64_t count = sides.last_bin[side] - first;
    const bool upper = sides.upper(static_cast<int32_t>(side));
    const int64_t each = (count + kThreads - 1) / kThreads;
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
    double weight = 0, score = 0;
    if (step == 2) {
      weight = shared->sums[0][thread];
      score = shared->sums[1][thread];
    }
    for (int64_t k = thread * each; k < (thread + 1) * each && k < count; ++k) {
      const int64_t c = upper ? first + k : first + count - 1 - k;
      weight += Weight(c);
      score += Score(c);
      if (step == 2) {
        bins.running[0][c] = weight;
        bins.running[1][c] = score;
      }
    }
    if (step == 0) {
      shared->sums[0][thread] = weight;
      shared->sums[1][thread] = score;
    }
  }
};

// A PairTable in memory that the machine can read.
struct DeviceTable {
  double width, margin;
  int64_t first, last;
  const double* value;
  const double* slope;
  const double* slope_transposed;
};

HVDREC_HD inline bool InReach(const DeviceTable& table, double distance) {
  return distance >= static_cast<double>(table.first) &&
         distance <= static_cast<double>(table.last);
}

// Bins from .. to - 1 of the other side.
struct BinRange {
  int64_t from, to;
};

// Those within reach of a bin.
HVDREC_HD inline BinRange Reach(const Sides& sides, const Bins& bins, const DeviceTable& table,
                                int64_t bin, int32_t partner) {
  const bool upper = sides.upper(bins.side[bin]);
  const double panel = bins.panel[bin];
  const double first = static_cast<double>(table.first), last = static_cast<double>(table.last);
  const int64_t begin = sides.first_bin[partner];
  const int64_t count = sides.last_bin[partner] - begin;
  const double* const others = bins.panel + begin;
  int64_t from = FirstAtLeast(others, count, upper ? panel - last : panel + first);
  int64_t to = FirstAtLeast(others, count, upper ? panel - first + 1 : panel + last + 1);
  // Beyond 2^53 those sums are rounded; differences of neighbours never are.
  const double sign = upper ? 1 : -1;
  while (from < to && !InReach(table, sign * (panel - others[from]))) ++from;
  while (from < to && !InReach(table, sign * (panel - others[to - 1]))) --to;
  return {begin + from, begin + to};
}

// Coefficient k of the effect of a lower panel's moments on an upper one that leads it by `lead`
// panels.
template <int P>
HVDREC_HD inline void FromBelow(const DeviceTable& table, double lead, const double* moments, int k,
                                double* value, double* slope) {
  const int64_t at = (static_cast<int64_t>(lead) - table.first) * P * P;
  for (int l = 0; l < P; ++l) {
    *value += table.value[at + l * P + k] * moments[l];
    *slope += table.slope[at + l * P + k] * moments[l];
  }
}

// The reverse, for the slope only.
template <int P>
HVDREC_HD inline void FromAbove(const DeviceTable& table, double lead, const double* moments, int k,
                                double* slope) {
  const int64_t at = (static_cast<int64_t>(lead) - table.first) * P * P;
  for (int l = 0; l < P; ++l) *slope += table.slope_transposed[at + l * P + k] * moments[l];
}

// The effect of the bins of the other side on one bin per block.
template <int P>
struct Act {
  static constexpr int kThreads = 128;
  static constexpr int kParts = kThreads / P;
  struct Shared {
    double value[kParts][P];
    double slope[kParts][P];
    BinRange reach;
  };
  using Local = Empty;

  Sides sides;
  Bins bins;
  int32_t side_count;
  DeviceTable table;

  HVDREC_HD int64_t Steps(int64_t bin) const {
    return sides.Panels(bins.side[bin], side_count) ? 4 : 0;
  }

  HVDREC_HD void Step(int64_t step, int64_t bin, int thread, Shared* shared, Local*) const {
    const int32_t side = bins.side[bin];
    const bool upper = sides.upper(side);
    if (step == 0) {
      if (thread > 0) return;
      shared->reach = Reach(sides, bins, table, bin, sides.Partner(side, side_count));
    } else if (step == 1) {
      Part(bin, upper, thread, shared);
    } else if (step == 2) {
      AddParts(bin, upper, thread, shared);
    } else if (thread == 0) {
      Beyond(bin, upper, sides.Partner(side, side_count), shared);
    }
  }

  HVDREC_HD void Part(int64_t bin, bool upper, int thread, Shared* shared) const {
    const int part = thread / P, k = thread % P;
    if (part >= kParts) return;
    double value = 0, slope = 0;
    for (int64_t c = shared->reach.from + part; c < shared->reach.to; c += kParts) {
      const double lead = bins.panel[bin] - bins.panel[c];
      const double* const moments = bins.moments + c * P;
      if (upper) {
        FromBelow<P>(table, lead, moments, k, &value, &slope);
      } else {
        FromAbove<P>(table, -lead, moments, k, &slope);
      }
    }
    shared->value[part][k] = value;
    shared->slope[part][k] = slope;
  }

  HVDREC_HD void AddParts(int64_t bin, bool upper, int thread, Shared* shared) const {
    if (thread >= P) return;
    double value = 0, slope = 0;
    for (int part = 0; part < kParts; ++part) {
      value += shared->value[part][thread];
      slope += shared->slope[part][thread];
    }
    bins.slope[bin * P + thread] = slope;
    // Only this thread reads and writes the column.
    shared->value[0][thread] = upper ? value * bins.moments[bin * P + thread] : 0;
  }

  // Rows beyond reach: above an upper bin f is linear, and below a lower one.
  HVDREC_HD void Beyond(int64_t bin, bool upper, int32_t partner, Shared* shared) const {
    double loss = 0;
    for (int k = 0; k < P; ++k) loss += shared->value[0][k];
    double far = 0;
    if (upper && shared->reach.to < sides.last_bin[partner]) {
      far = bins.running[0][shared->reach.to];
      const double weight = bins.moments[bin * P];
      const double score = (bins.panel[bin] + 0.5) * table.width * weight +
                           table.width / 2 * bins.moments[bin * P + 1];
      loss += weight * (far * table.margin + bins.running[1][shared->reach.to]) - far * score;
    } else if (!upper && shared->reach.from > sides.first_bin[partner]) {
      far = bins.running[0][shared->reach.from - 1];
    }
    bins.far[bin] = far;
    bins.loss[bin] = loss;
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_BIN_STEPS_H_
