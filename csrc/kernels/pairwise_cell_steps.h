// Steps of the pairwise losses on a GPU that sum over cells: the rows of a side in one panel of the
// score axis (kernels/pair_table.h).

#ifndef HVDREC_KERNELS_PAIRWISE_CELL_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_CELL_STEPS_H_

#include "kernels/pairwise_side_steps.h"
#include "kernels/steps.h"

namespace hvdrec {
namespace pairwise_steps {

constexpr int64_t kPieceRows = 2048;

// Rows side by side, in the order of side and score.
struct Lined {
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
  Lined out;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t row = order[p];
    out.u[p] = u[row];
    out.weight[p] = weights == nullptr ? 1.0 : static_cast<double>(weights[row]);
    out.panel[p] = floor(u[row] * inverse_width);
    out.side[p] = row_side[row];
  }
};

// 1 where a cell begins: the rows of a side in one panel.
struct CellHeads {
  Lined rows;
  int32_t* heads;

  HVDREC_HD void operator()(int64_t p) const {
    heads[p] = p == 0 || rows.side[p] != rows.side[p - 1] || rows.panel[p] != rows.panel[p - 1];
  }
};

// The cells of a level in order, so those of a side by rising panel.
struct Cells {
  double* panel;
  int32_t* begin;
  int32_t* end;
  int32_t* side;
  int32_t* pieces;     // of kPieceRows rows; 0 where the side goes pair by pair
  double* running[2];  // for what lies beyond reach; see RunningSums
  double* moments;     // [P]: sums of w T_k(x)
  double* slope;       // [P]: coefficients of what acts on the cell's rows within reach,
  double* far;         // and the weight of the rows beyond,
  double* loss;        // and the loss of those pairs, for upper sides
};

struct FillCells {
  Lined rows;
  const int32_t* heads;
  const int32_t* cell_of;  // from 1
  int64_t count;
  int32_t side_count;
  Sides sides;
  Cells cells;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t cell = cell_of[p] - 1, side = rows.side[p];
    if (heads[p]) {
      cells.panel[cell] = rows.panel[p];
      cells.begin[cell] = static_cast<int32_t>(p);
      cells.side[cell] = side;
      if (p == sides.begin[side]) sides.first_cell[side] = cell;
    }
    if (p + 1 == count || heads[p + 1]) {
      cells.end[cell] = static_cast<int32_t>(p + 1);
      if (p + 1 == sides.end[side]) sides.last_cell[side] = cell + 1;
    }
  }
};

struct CountPieces {
  int32_t side_count;
  Sides sides;
  Cells cells;

  HVDREC_HD void operator()(int64_t c) const {
    const int64_t rows = cells.end[c] - cells.begin[c];
    cells.pieces[c] = sides.Panels(cells.side[c], side_count)
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

// Rows of a cell, for PieceMoments.
struct CellRows {
  Lined rows;
  Sides sides;
  Cells cells;
  double inverse_width;

  HVDREC_HD int64_t begin(int64_t cell) const { return cells.begin[cell]; }
  HVDREC_HD int64_t end(int64_t cell) const { return cells.end[cell]; }
  HVDREC_HD void Row(int64_t p, int64_t cell, double* x, double* weight) const {
    *x = Coordinate(rows.u[p], cells.panel[cell], inverse_width);
    *weight = sides.upper(cells.side[cell]) ? rows.weight[p] : 1.0;
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

// The moments of one piece of a cell, or of another group of rows, a block. `Source` has begin(c)
// and end(c) of a group, and Row(r, c, &x, &weight) for what lies between.
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

// Running sums over the cells of a side, a block each, the cell's own among them: lower sides of
// counts and scores from each cell up, upper sides of weights from each cell down.
template <int P>
struct RunningSums {
  static constexpr int kThreads = 256;
  struct Shared {
    double sums[2][kThreads];
  };
  using Local = Empty;

  Sides sides;
  Cells cells;
  int32_t side_count;
  double width;

  HVDREC_HD double Weight(int64_t c) const { return cells.moments[c * P]; }
  HVDREC_HD double Score(int64_t c) const {
    return (cells.panel[c] + 0.5) * width * cells.moments[c * P] +
           width / 2 * cells.moments[c * P + 1];
  }

  HVDREC_HD int64_t Steps(int64_t side) const {
    return sides.Panels(static_cast<int32_t>(side), side_count) ? 3 : 0;
  }
  HVDREC_HD void Step(int64_t step, int64_t side, int thread, Shared* shared, Local*) const {
    const int64_t first = sides.first_cell[side];
    const int64_t count = sides.last_cell[side] - first;
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
        cells.running[0][c] = weight;
        cells.running[1][c] = score;
      }
    }
    if (step == 0) {
      shared->sums[0][thread] = weight;
      shared->sums[1][thread] = score;
    }
  }
};

// A PairTable where the machine can read it.
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

// Cells from .. to - 1 of the other side.
struct CellRange {
  int64_t from, to;
};

// Those within reach of a cell.
HVDREC_HD inline CellRange Reach(const Sides& sides, const Cells& cells, const DeviceTable& table,
                                 int64_t cell, int32_t partner) {
  const bool upper = sides.upper(cells.side[cell]);
  const double panel = cells.panel[cell];
  const double first = static_cast<double>(table.first), last = static_cast<double>(table.last);
  const int64_t begin = sides.first_cell[partner];
  const int64_t count = sides.last_cell[partner] - begin;
  const double* const others = cells.panel + begin;
  int64_t from = FirstAtLeast(others, count, upper ? panel - last : panel + first);
  int64_t to = FirstAtLeast(others, count, upper ? panel - first + 1 : panel + last + 1);
  // Beyond 2^53 those sums are rounded; differences of neighbours never are.
  const double sign = upper ? 1 : -1;
  while (from < to && !InReach(table, sign * (panel - others[from]))) ++from;
  while (from < to && !InReach(table, sign * (panel - others[to - 1]))) --to;
  return {begin + from, begin + to};
}

// Coefficient k of what moments of a lower panel do to an upper one that leads it by `lead` panels.
template <int P>
HVDREC_HD inline void FromBelow(const DeviceTable& table, double lead, const double* moments, int k,
                                double* value, double* slope) {
  const int64_t at = (static_cast<int64_t>(lead) - table.first) * P * P;
  for (int l = 0; l < P; ++l) {
    *value += table.value[at + l * P + k] * moments[l];
    *slope += table.slope[at + l * P + k] * moments[l];
  }
}

// The other way round, of the slope alone.
template <int P>
HVDREC_HD inline void FromAbove(const DeviceTable& table, double lead, const double* moments, int k,
                                double* slope) {
  const int64_t at = (static_cast<int64_t>(lead) - table.first) * P * P;
  for (int l = 0; l < P; ++l) *slope += table.slope_transposed[at + l * P + k] * moments[l];
}

// What the cells of the other side do to one cell a block.
template <int P>
struct Act {
  static constexpr int kThreads = 128;
  static constexpr int kParts = kThreads / P;
  struct Shared {
    double value[kParts][P];
    double slope[kParts][P];
    CellRange reach;
  };
  using Local = Empty;

  Sides sides;
  Cells cells;
  int32_t side_count;
  DeviceTable table;

  HVDREC_HD int64_t Steps(int64_t cell) const {
    return sides.Panels(cells.side[cell], side_count) ? 4 : 0;
  }

  HVDREC_HD void Step(int64_t step, int64_t cell, int thread, Shared* shared, Local*) const {
    const int32_t side = cells.side[cell];
    const bool upper = sides.upper(side);
    if (step == 0) {
      if (thread > 0) return;
      shared->reach = Reach(sides, cells, table, cell, sides.Partner(side, side_count));
    } else if (step == 1) {
      Part(cell, upper, thread, shared);
    } else if (step == 2) {
      AddParts(cell, upper, thread, shared);
    } else if (thread == 0) {
      Beyond(cell, upper, sides.Partner(side, side_count), shared);
    }
  }

  HVDREC_HD void Part(int64_t cell, bool upper, int thread, Shared* shared) const {
    const int part = thread / P, k = thread % P;
    if (part >= kParts) return;
    double value = 0, slope = 0;
    for (int64_t c = shared->reach.from + part; c < shared->reach.to; c += kParts) {
      const double lead = cells.panel[cell] - cells.panel[c];
      const double* const moments = cells.moments + c * P;
      if (upper) {
        FromBelow<P>(table, lead, moments, k, &value, &slope);
      } else {
        FromAbove<P>(table, -lead, moments, k, &slope);
      }
    }
    shared->value[part][k] = value;
    shared->slope[part][k] = slope;
  }

  HVDREC_HD void AddParts(int64_t cell, bool upper, int thread, Shared* shared) const {
    if (thread >= P) return;
    double value = 0, slope = 0;
    for (int part = 0; part < kParts; ++part) {
      value += shared->value[part][thread];
      slope += shared->slope[part][thread];
    }
    cells.slope[cell * P + thread] = slope;
    // Only this thread reads and writes the column.
    shared->value[0][thread] = upper ? value * cells.moments[cell * P + thread] : 0;
  }

  // Rows beyond reach: above an upper cell f is linear, and below a lower one.
  HVDREC_HD void Beyond(int64_t cell, bool upper, int32_t partner, Shared* shared) const {
    double loss = 0;
    for (int k = 0; k < P; ++k) loss += shared->value[0][k];
    double far = 0;
    if (upper && shared->reach.to < sides.last_cell[partner]) {
      far = cells.running[0][shared->reach.to];
      const double weight = cells.moments[cell * P];
      const double score = (cells.panel[cell] + 0.5) * table.width * weight +
                           table.width / 2 * cells.moments[cell * P + 1];
      loss += weight * (far * table.margin + cells.running[1][shared->reach.to]) - far * score;
    } else if (!upper && shared->reach.from > sides.first_cell[partner]) {
      far = cells.running[0][shared->reach.from - 1];
    }
    cells.far[cell] = far;
    cells.loss[cell] = loss;
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_CELL_STEPS_H_
