// Steps of the pairwise losses on a GPU that sum over the whole panels of runs.
//
// A group is the entries (kernels/pairwise/gpu/entry_steps.h) of one upper bin whose first
// positions are in one lower bin, the edge: so all of them act on the same whole bins, those after
// the edge, and are acted on by the same. A lower bin is acted on by the groups of an upper bin up
// to the last one with an edge before it.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_GROUP_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_GROUP_STEPS_H_

#include "kernels/pairwise/gpu/entry_steps.h"

namespace hvdrec {
namespace pairwise_steps {

// In the order of bin and edge.
struct Groups {
  int32_t* bin;
  int32_t* edge;
  int32_t* begin;  // of the entries in order
  int32_t* end;
  int32_t* pieces;    // of kPieceRows entries
  int32_t* next;      // the first lower bin that is acted on linearly; or the end of the side's
  double* moments;    // [P]: sums of w T_k(x), then those of the bin's groups up to this one
  double* value;      // [P]: coefficients of what acts on an entry within reach
  double* slope;      // [P]
  int32_t* first_of;  // by bin: its groups
  int32_t* last_of;   // after them
};

// The bin of an entry's key, and of its first place.
struct EntryBins {
  const uint64_t* keys;   // sorted
  const int32_t* bin_of;  // by place, from 1

  HVDREC_HD bool in(int64_t q) const { return keys[q] != kNoEntry; }
  HVDREC_HD int32_t bin(int64_t q) const { return static_cast<int32_t>(keys[q] >> 32); }
  HVDREC_HD int32_t edge(int64_t q) const {
    return bin_of[static_cast<int32_t>(keys[q] & 0xFFFFFFFF)] - 1;
  }
};

// 1 where a group begins.
struct GroupHeads {
  EntryBins entries;
  int32_t* heads;

  HVDREC_HD void operator()(int64_t q) const {
    heads[q] = entries.in(q) && (q == 0 || entries.bin(q) != entries.bin(q - 1) ||
                                 entries.edge(q) != entries.edge(q - 1));
  }
};

struct FillGroups {
  EntryBins entries;
  const int32_t* order;  // of slots
  int64_t count;
  const int32_t* heads;
  const int32_t* group_of;  // from 1
  int32_t* slot_group;
  Groups groups;

  HVDREC_HD void operator()(int64_t q) const {
    if (!entries.in(q)) return;
    const int32_t g = group_of[q] - 1, bin = entries.bin(q);
    slot_group[order[q]] = g;
    if (heads[q]) {
      groups.bin[g] = bin;
      groups.edge[g] = entries.edge(q);
      groups.begin[g] = static_cast<int32_t>(q);
      if (q == 0 || entries.bin(q - 1) != bin) groups.first_of[bin] = g;
    }
    const bool last = q + 1 == count || !entries.in(q + 1);
    if (last || heads[q + 1]) groups.end[g] = static_cast<int32_t>(q + 1);
    if (last || entries.bin(q + 1) != bin) groups.last_of[bin] = g + 1;
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
  SortedRows rows;
  Bins bins;
  Groups groups;
  Entries entries;
  const int32_t* order;  // of slots
  double inverse_width;

  HVDREC_HD int64_t begin(int64_t g) const { return groups.begin[g]; }
  HVDREC_HD int64_t end(int64_t g) const { return groups.end[g]; }
  HVDREC_HD void Row(int64_t q, int64_t g, double* x, double* weight) const {
    const int32_t slot = order[q];
    *x = Coordinate(rows.u[entries.place(slot)], bins.panel[groups.bin[g]], inverse_width);
    *weight = entries.weight[slot];
  }
};

// The effect of the whole bins within reach on one group per block.
template <int P>
struct ActOnGroups {
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
  DeviceTable table;
  Groups groups;

  HVDREC_HD int64_t Steps(int64_t) const { return 3; }
  HVDREC_HD void Step(int64_t step, int64_t group, int thread, Shared* shared, Local*) const {
    const int32_t bin = groups.bin[group];
    if (step == 0) {
      if (thread > 0) return;
      BinRange reach = Reach(sides, bins, table, bin, bins.side[bin] - 1);
      const int32_t behind = groups.edge[group] + 1;
      if (reach.from < behind) reach.from = behind;
      if (reach.to < behind) reach.to = behind;
      shared->reach = reach;
      groups.next[group] = static_cast<int32_t>(reach.to);
    } else if (step == 1) {
      Part(bin, thread, shared);
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

  HVDREC_HD void Part(int32_t bin, int thread, Shared* shared) const {
    const int part = thread / P, k = thread % P;
    if (part >= kParts) return;
    double value = 0, slope = 0;
    for (int64_t c = shared->reach.from + part; c < shared->reach.to; c += kParts) {
      FromBelow<P>(table, bins.panel[bin] - bins.panel[c], bins.moments + c * P, k, &value, &slope);
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

// The effect of the groups on one lower bin per block.
template <int P>
struct ActOnLower {
  static constexpr int kThreads = 128;
  static constexpr int kParts = kThreads / P;
  struct Shared {
    double slope[kParts][P];
    BinRange reach;
  };
  using Local = Empty;

  Sides sides;
  Bins bins;
  int32_t side_count;
  DeviceTable table;
  Groups groups;
  RunningWeights far;  // by the groups' next bins

  HVDREC_HD int64_t Steps(int64_t bin) const {
    const int32_t side = bins.side[bin];
    return !sides.upper(side) && sides.Panels(side, side_count) ? 3 : 0;
  }
  HVDREC_HD void Step(int64_t step, int64_t bin, int thread, Shared* shared, Local*) const {
    const int32_t side = bins.side[bin];
    if (step == 0) {
      if (thread == 0) shared->reach = Reach(sides, bins, table, bin, side + 1);
    } else if (step == 1) {
      Part(bin, thread, shared);
    } else if (thread < P) {
      double slope = 0;
      for (int part = 0; part < kParts; ++part) slope += shared->slope[part][thread];
      bins.slope[bin * P + thread] = slope;
      if (thread == 0) bins.far[bin] = far.UpTo(side, bin);
    }
  }

  HVDREC_HD void Part(int64_t bin, int thread, Shared* shared) const {
    const int part = thread / P, k = thread % P;
    if (part >= kParts) return;
    double slope = 0;
    for (int64_t c = shared->reach.from + part; c < shared->reach.to; c += kParts) {
      const int32_t first = groups.first_of[c];
      const int64_t before =
          FirstAtLeast(groups.edge + first, groups.last_of[c] - first, static_cast<int32_t>(bin));
      if (before == 0) continue;
      const double* const moments = groups.moments + (first + before - 1) * P;
      FromAbove<P>(table, bins.panel[c] - bins.panel[bin], moments, k, &slope);
    }
    shared->slope[part][k] = slope;
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_GROUP_STEPS_H_
