// Steps of the pairwise losses on a GPU that put runs (kernels/pairwise/gpu/run_steps.h) in order,
// and the hinge loss over them.
//
// An entry is an upper row with a weight from one position of the lower side on, so a run is one
// entry or, if pairs on its edge count by a share, two. Each position has a fixed number of slots
// for entries.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_ENTRY_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_ENTRY_STEPS_H_

#include "kernels/pairwise/gpu/run_steps.h"
#include "kernels/pairwise/gpu/sweep_steps.h"

namespace hvdrec {
namespace pairwise_steps {

constexpr uint64_t kNoEntry = ~uint64_t{0};  // the key of a slot without one

// By slot.
struct Entries {
  int32_t per_row;
  int32_t* first;  // lower place
  double* weight;  // 0: no entry
  int32_t* group;  // see Groups

  HVDREC_HD int64_t place(int64_t slot) const { return slot / per_row; }
};

// Entries of sides that aren't computed pair by pair. Keys: by first position, and if there are
// bins by the upper row's bin before that.
struct MakeEntries {
  SortedRows rows;
  Sides sides;
  int32_t side_count;
  Runs runs;
  const double* share;
  const int32_t* bin_of;  // from 1; nullptr: there are none
  Entries out;
  uint64_t* keys;
  int32_t* slots;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    const bool in = sides.upper(side) && sides.Panels(side, side_count);
    const int32_t end = in ? sides.end[side - 1] : 0;
    const bool edge = in && runs.some[p] < runs.all[p];
    const double part = edge ? *share : 0.0;
    for (int32_t k = 0; k < out.per_row; ++k) {
      const int64_t slot = p * out.per_row + k;
      const int32_t first = !in ? end : k == 0 ? runs.all[p] : runs.some[p];
      double weight = rows.weight[p] * (k == 0 ? 1 - part : part);
      if (first == end) weight = 0;
      out.first[slot] = first;
      out.weight[slot] = weight;
      slots[slot] = static_cast<int32_t>(slot);
      const uint64_t bin = bin_of == nullptr ? 0 : static_cast<uint64_t>(bin_of[p] - 1);
      keys[slot] = weight == 0 ? kNoEntry : bin << 32 | static_cast<uint64_t>(first);
    }
  }
};

// By lower side that doesn't go pair by pair: where those of sorted keys lie that are at least
// `from` and below `to` of the side.
struct KeyRanges {
  Sides sides;
  int32_t side_count;
  const uint64_t* keys;
  int64_t count;
  const int32_t* from;
  const int32_t* to;
  int32_t* begin;
  int32_t* end;

  HVDREC_HD void operator()(int64_t i) const {
    const auto side = static_cast<int32_t>(i);
    begin[side] = end[side] = 0;
    if (sides.upper(side) || !sides.Panels(side, side_count)) return;
    begin[side] = Find(from[side]);
    end[side] = Find(to[side]);
  }
  HVDREC_HD int32_t Find(int32_t key) const {
    return static_cast<int32_t>(FirstAtLeast(keys, count, static_cast<uint64_t>(key)));
  }
};

// Weights in the order of sorted keys, and their running sums within each range.
struct RunningWeights {
  const uint64_t* keys;
  const int32_t* begin;  // by side, as `end`
  const int32_t* end;
  const double* sums;

  // Of the keys of a side up to `key`.
  HVDREC_HD double UpTo(int32_t side, int64_t key) const {
    const int64_t count =
        FirstAtLeast(keys + begin[side], end[side] - begin[side], static_cast<uint64_t>(key) + 1);
    return count == 0 ? 0.0 : sums[begin[side] + count - 1];
  }
};

struct EntryWeights {
  const int32_t* order;  // of slots
  const double* weight;
  double* out;

  HVDREC_HD void operator()(int64_t q) const { out[q] = weight[order[q]]; }
};

// Adds the effect of the runs of a level's large splits on each row's gradient and loss, for the
// hinge.
struct SweepRuns {
  SortedRows rows;
  const int32_t* order;
  Sides sides;
  int32_t side_count;
  double margin;
  Entries entries;
  SweepSums sums;
  RunningWeights acting;  // by the entries' first places
  double* gradient;       // by row, as `totals`
  Total* totals;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    if (!sides.Panels(side, side_count)) return;
    if (!sides.upper(side)) {
      gradient[order[p]] += acting.UpTo(side, p);
      return;
    }
    const int32_t lower = side - 1;
    const double x = margin - (rows.u[p] - Origin(rows, sides, lower));
    for (int32_t k = 0; k < entries.per_row; ++k) {
      const int64_t slot = p * entries.per_row + k;
      const double weight = entries.weight[slot];
      if (weight == 0) continue;
      const int32_t first = entries.first[slot];
      const auto count = static_cast<double>(sides.end[lower] - first);
      totals[order[p]].loss += weight * (count * x + sums.first[first]);
      gradient[order[p]] -= weight * count;
    }
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_ENTRY_STEPS_H_
