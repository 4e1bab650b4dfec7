// Steps of the pairwise losses on a GPU that sum over the whole panels of runs.
//
// A group is the entries (kernels/pairwise_entry_steps.h) of one upper cell whose first places lie
// in one lower cell, the edge: so all of them act on the same whole cells, those behind the edge,
// and are acted on by the same. A lower cell is acted on by the groups of an upper cell up to the
// last one with an edge before it.

#ifndef HVDREC_KERNELS_PAIRWISE_GROUP_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GROUP_STEPS_H_

#include "kernels/pairwise_entry_steps.h"

namespace hvdrec {
namespace pairwise_steps {

// In the order of cell and edge.
struct Groups {
  int32_t* cell;
  int32_t* edge;
  int32_t* begin;  // of the entries in order
  int32_t* end;
  int32_t* pieces;    // of kPieceRows entries
  int32_t* next;      // the first lower cell that is acted on linearly; or the end of the side's
  double* moments;    // [P]: sums of w T_k(x), then those of the cell's groups up to this one
  double* value;      // [P]: coefficients of what acts on an entry within reach
  double* slope;      // [P]
  int32_t* first_of;  // by cell: its groups
  int32_t* last_of;   // behind them
};

// The cell of an entry's key, and of its first place.
struct EntryCells {
  const uint64_t* keys;    // sorted
  const int32_t* cell_of;  // by place, from 1

  HVDREC_HD bool in(int64_t q) const { return keys[q] != kNoEntry; }
  HVDREC_HD int32_t cell(int64_t q) const { return static_cast<int32_t>(keys[q] >> 32); }
  HVDREC_HD int32_t edge(int64_t q) const {
    return cell_of[static_cast<int32_t>(keys[q] & 0xFFFFFFFF)] - 1;
  }
};

// 1 where a group begins.
struct GroupHeads {
  EntryCells entries;
  int32_t* heads;

  HVDREC_HD void operator()(int64_t q) const {
    heads[q] = entries.in(q) && (q == 0 || entries.cell(q) != entries.cell(q - 1) ||
                                 entries.edge(q) != entries.edge(q - 1));
  }
};

struct FillGroups {
  EntryCells entries;
  const int32_t* order;  // of slots
  int64_t count;
  const int32_t* heads;
  const int32_t* group_of;  // from 1
  int32_t* slot_group;
  Groups groups;

  HVDREC_HD void operator()(int64_t q) const {
    if (!entries.in(q)) return;
    const int32_t g = group_of[q] - 1, cell = entries.cell(q);
    slot_group[order[q]] = g;
    if (heads[q]) {
      groups.cell[g] = cell;
      groups.edge[g] = entries.edge(q);
      groups.begin[g] = static_cast<int32_t>(q);
      if (q == 0 || entries.cell(q - 1) != cell) groups.first_of[cell] = g;
    }
    const bool last = q + 1 == count || !entries.in(q + 1);
    if (last || heads[q + 1]) groups.end[g] = static_cast<int32_t>(q + 1);
    if (last || entries.cell(q + 1) != cell) groups.last_of[cell] = g + 1;
  }
};

struct CountGroupPieces {
  Groups groups;

  HVDREC_HD void operator()(int64_t g) const {
    const int64_t entries = groups.end[g] - groups.begin[g];
    groups.pieces[g] = static_cast<int32_t>((entries + kPieceRows - 1) / kPieceRows);
  }
};

// Entries of a group, for PieceMoments.
struct GroupEntries {
  Lined rows;
  Cells cells;
  Groups groups;
  Entries entries;
  const int32_t* order;  // of slots
  double inverse_width;

  HVDREC_HD int64_t begin(int64_t g) const { return groups.begin[g]; }
  HVDREC_HD int64_t end(int64_t g) const { return groups.end[g]; }
  HVDREC_HD void Row(int64_t q, int64_t g, double* x, double* weight) const {
    const int32_t slot = order[q];
    *x = Coordinate(rows.u[entries.place(slot)], cells.panel[groups.cell[g]], inverse_width);
    *weight = entries.weight[slot];
  }
};

// What the whole cells within reach do to one group a block.
template <int P>
struct ActOnGroups {
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
  DeviceTable table;
  Groups groups;

  HVDREC_HD int64_t Steps(int64_t) const { return 3; }
  HVDREC_HD void Step(int64_t step, int64_t group, int thread, Shared* shared, Local*) const {
    const int32_t cell = groups.cell[group];
    if (step == 0) {
      if (thread > 0) return;
      CellRange reach = Reach(sides, cells, table, cell, cells.side[cell] - 1);
      const int32_t behind = groups.edge[group] + 1;
      if (reach.from < behind) reach.from = behind;
      if (reach.to < behind) reach.to = behind;
      shared->reach = reach;
      groups.next[group] = static_cast<int32_t>(reach.to);
    } else if (step == 1) {
      Part(cell, thread, shared);
    } else if (thread < P) {
      double value = 0, slope = 0;
      for (int part = 0; part < kParts; ++part) {
        value += shared->value[part][thread];
        slope += shared->slope[part][thread];
      }
      groups.value[group * P + thread] = value;
      groups.slope[group * P + thread] = slope;
    }
  }

  HVDREC_HD void Part(int32_t cell, int thread, Shared* shared) const {
    const int part = thread / P, k = thread % P;
    if (part >= kParts) return;
    double value = 0, slope = 0;
    for (int64_t c = shared->reach.from + part; c < shared->reach.to; c += kParts) {
      FromBelow<P>(table, cells.panel[cell] - cells.panel[c], cells.moments + c * P, k, &value,
                   &slope);
    }
    shared->value[part][k] = value;
    shared->slope[part][k] = slope;
  }
};

struct NextKeys {
  Groups groups;
  uint64_t* keys;
  int32_t* order;

  HVDREC_HD void operator()(int64_t g) const {
    keys[g] = static_cast<uint64_t>(groups.next[g]);
    order[g] = static_cast<int32_t>(g);
  }
};

template <int P>
struct GroupWeights {
  const int32_t* order;
  Groups groups;  // before their moments are added up
  double* out;

  HVDREC_HD void operator()(int64_t q) const { out[q] = groups.moments[int64_t{order[q]} * P]; }
};

// What the groups do to one lower cell a block.
template <int P>
struct ActOnLower {
  static constexpr int kThreads = 128;
  static constexpr int kParts = kThreads / P;
  struct Shared {
    double slope[kParts][P];
    CellRange reach;
  };
  using Local = Empty;

  Sides sides;
  Cells cells;
  int32_t side_count;
  DeviceTable table;
  Groups groups;
  RunningWeights far;  // by the groups' next cells

  HVDREC_HD int64_t Steps(int64_t cell) const {
    const int32_t side = cells.side[cell];
    return !sides.upper(side) && sides.Panels(side, side_count) ? 3 : 0;
  }
  HVDREC_HD void Step(int64_t step, int64_t cell, int thread, Shared* shared, Local*) const {
    const int32_t side = cells.side[cell];
    if (step == 0) {
      if (thread == 0) shared->reach = Reach(sides, cells, table, cell, side + 1);
    } else if (step == 1) {
      Part(cell, thread, shared);
    } else if (thread < P) {
      double slope = 0;
      for (int part = 0; part < kParts; ++part) slope += shared->slope[part][thread];
      cells.slope[cell * P + thread] = slope;
      if (thread == 0) cells.far[cell] = far.UpTo(side, cell);
    }
  }

  HVDREC_HD void Part(int64_t cell, int thread, Shared* shared) const {
    const int part = thread / P, k = thread % P;
    if (part >= kParts) return;
    double slope = 0;
    for (int64_t c = shared->reach.from + part; c < shared->reach.to; c += kParts) {
      const int32_t first = groups.first_of[c];
      const int64_t before =
          FirstAtLeast(groups.edge + first, groups.last_of[c] - first, static_cast<int32_t>(cell));
      if (before == 0) continue;
      const double* const moments = groups.moments + (first + before - 1) * P;
      FromAbove<P>(table, cells.panel[c] - cells.panel[cell], moments, k, &slope);
    }
    shared->slope[part][k] = slope;
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GROUP_STEPS_H_
