// Steps of the pairwise losses on a GPU that sum over runs: the bin that a run begins in, and what
// each row gets in all.
//
// Lower bins are divided into blocks of a few rows. An entry acts on its first block's rows one by
// one and on the other blocks of that bin by moments.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_BLOCK_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_BLOCK_STEPS_H_

#include "kernels/pairwise/gpu/group_steps.h"

namespace hvdrec {
namespace pairwise_steps {

constexpr int kBlockRows = 16;

struct Blocks {
  const int32_t* count;  // by bin, 0 if its side isn't a lower one or is computed pair by pair
  const int32_t* last;   // by bin: after its blocks
  int32_t* first;        // by bin
  int32_t* bin;          // by block
  double* moments;       // [block][P]: of the bin's rows from the block on

  // Of a place.
  HVDREC_HD int32_t of(const Bins& bins, int32_t bin_of_place, int64_t p) const {
    return first[bin_of_place] + static_cast<int32_t>(p - bins.begin[bin_of_place]) / kBlockRows;
  }
  HVDREC_HD int32_t begin(const Bins& bins, int32_t block) const {
    return bins.begin[bin[block]] + (block - first[bin[block]]) * kBlockRows;
  }
  HVDREC_HD int32_t end(const Bins& bins, int32_t block) const {
    const int32_t end = begin(bins, block) + kBlockRows, last = bins.end[bin[block]];
    return end < last ? end : last;
  }
};

struct CountBlocks {
  Sides sides;
  Bins bins;
  int32_t side_count;
  int32_t* count;

  HVDREC_HD void operator()(int64_t c) const {
    const int32_t side = bins.side[c];
    const bool in = !sides.upper(side) && sides.Panels(side, side_count);
    count[c] = in ? (bins.end[c] - bins.begin[c] + kBlockRows - 1) / kBlockRows : 0;
  }
};

struct FirstBlocks {
  Blocks blocks;

  HVDREC_HD void operator()(int64_t c) const { blocks.first[c] = blocks.last[c] - blocks.count[c]; }
};

// By place: names the bin of each block.
struct FillBlocks {
  Bins bins;
  const int32_t* bin_of;  // from 1
  Blocks blocks;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t bin = bin_of[p] - 1;
    if (blocks.count[bin] == 0 || (p - bins.begin[bin]) % kBlockRows != 0) return;
    blocks.bin[blocks.of(bins, bin, p)] = bin;
  }
};

template <int P>
struct BlockMoments {
  SortedRows rows;
  Bins bins;
  Blocks blocks;
  double inverse_width;

  HVDREC_HD void operator()(int64_t i) const {
    const auto block = static_cast<int32_t>(i);
    const double panel = bins.panel[blocks.bin[block]];
    double sums[P] = {};
    for (int32_t p = blocks.begin(bins, block); p < blocks.end(bins, block); ++p) {
      AddMoment<P>(Coordinate(rows.u[p], panel, inverse_width), 1, sums);
    }
    for (int k = 0; k < P; ++k) blocks.moments[i * P + k] = sums[k];
  }
};

// By block: the entries that begin in it.
struct Lists {
  int32_t* begin;  // of the entries in their order
  int32_t* end;
  int32_t* pieces;  // of kPieceRows entries
  double* sums;     // [kBlockRows + P]: see ListPieces
};

// Keys that sort entries, which are in the order of their bins, first by block.
struct ListKeys {
  EntryBins entries;
  Bins bins;
  Blocks blocks;
  int32_t block_count;
  uint64_t* keys;

  HVDREC_HD void operator()(int64_t q) const {
    const auto first = static_cast<int32_t>(entries.keys[q] & 0xFFFFFFFF);
    keys[q] = static_cast<uint64_t>(entries.in(q) ? blocks.of(bins, entries.edge(q), first)
                                                  : block_count);
  }
};

struct FillLists {
  const uint64_t* keys;  // sorted
  int64_t count;
  Lists lists;

  HVDREC_HD void operator()(int64_t block) const {
    const int64_t begin = FirstAtLeast(keys, count, static_cast<uint64_t>(block));
    const int64_t end = FirstAtLeast(keys, count, static_cast<uint64_t>(block + 1));
    lists.begin[block] = static_cast<int32_t>(begin);
    lists.end[block] = static_cast<int32_t>(end);
    lists.pieces[block] = static_cast<int32_t>((end - begin + kPieceRows - 1) / kPieceRows);
  }
};

// The effect of one piece of a block's list, one block of threads each: the sums of w f' at each of
// its rows, and the coefficients of those at the rows of the bin's later blocks.
template <int P>
struct ListPieces {
  static constexpr int kThreads = 128;
  static constexpr int kRowParts = kThreads / kBlockRows;
  static constexpr int kParts = kThreads / P;
  static constexpr int kSums = kBlockRows + P;
  struct Shared {
    double rows[kRowParts][kBlockRows];
    double acting[kParts][P];
  };
  using Local = Empty;

  SortedRows rows;
  Bins bins;
  const int32_t* bin_of;  // from 1
  Blocks blocks;
  int32_t block_count;
  Lists lists;
  const int32_t* pieces_before;
  Entries entries;
  const int32_t* order;  // of slots
  DeviceTable table;
  PairValue f;
  double* out;  // [piece][kSums]

  HVDREC_HD int64_t Steps(int64_t) const { return 2; }
  HVDREC_HD void Step(int64_t step, int64_t piece, int thread, Shared* shared, Local*) const {
    if (step == 1) {
      if (thread < kSums) out[piece * kSums + thread] = Sum(thread, *shared);
      return;
    }
    const auto block = static_cast<int32_t>(
        FirstAtLeast(pieces_before, block_count, static_cast<int32_t>(piece) + 1));
    const int64_t before = pieces_before[block] - lists.pieces[block];
    const int64_t begin = lists.begin[block] + (piece - before) * kPieceRows;
    int64_t end = begin + kPieceRows;
    if (end > lists.end[block]) end = lists.end[block];
    ActOnRow(block, begin, end, thread, shared);
    if (thread / P < kParts) ActBehind(block, begin, end, thread, shared);
  }

  HVDREC_HD void ActOnRow(int32_t block, int64_t begin, int64_t end, int thread,
                          Shared* shared) const {
    const int part = thread / kBlockRows, r = thread % kBlockRows;
    const int32_t row = blocks.begin(bins, block) + r;
    double sum = 0;
    if (row < blocks.end(bins, block)) {
      for (int64_t q = begin + part; q < end; q += kRowParts) {
        const int32_t slot = order[q];
        if (entries.first[slot] > row) continue;
        double value, slope;
        f(rows.u[entries.place(slot)] - rows.u[row], &value, &slope);
        sum += entries.weight[slot] * slope;
      }
    }
    shared->rows[part][r] = sum;
  }

  // Thread by thread one coefficient of some entries.
  HVDREC_HD void ActBehind(int32_t block, int64_t begin, int64_t end, int thread,
                           Shared* shared) const {
    const int part = thread / P, k = thread % P;
    const double panel = bins.panel[blocks.bin[block]];
    double sum = 0;
    for (int64_t q = begin + part; q < end; q += kParts) {
      const int32_t slot = order[q];
      const int64_t place = entries.place(slot);
      const double above = bins.panel[bin_of[place] - 1], weight = entries.weight[slot];
      if (InReach(table, above - panel)) {
        double moments[P] = {};
        AddMoment<P>(Coordinate(rows.u[place], above, 1 / table.width), weight, moments);
        FromAbove<P>(table, above - panel, moments, k, &sum);
      } else if (above - panel < static_cast<double>(table.first) && k == 0) {
        sum -= weight;
      }
    }
    shared->acting[part][k] = sum;
  }

  HVDREC_HD double Sum(int thread, const Shared& shared) const {
    double sum = 0;
    if (thread < kBlockRows) {
      for (int part = 0; part < kRowParts; ++part) sum += shared.rows[part][thread];
    } else {
      for (int part = 0; part < kParts; ++part) sum += shared.acting[part][thread - kBlockRows];
    }
    return sum;
  }
};

// Adds the effect of the runs of a level's large splits on each row's gradient and loss, by panels.
template <int P>
struct EvaluateRuns {
  static constexpr int kSums = kBlockRows + P;

  SortedRows rows;
  const int32_t* order;
  Sides sides;
  Bins bins;
  int32_t side_count;
  const int32_t* bin_of;  // from 1
  Groups groups;
  Blocks blocks;
  const double* acting;  // [block][kSums]: as Lists has them, coefficients of the bin's blocks
                         // up to each
  Entries entries;
  DeviceTable table;
  PairValue f;
  double* gradient;  // by row, as `totals`
  Total* totals;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = rows.side[p];
    if (!sides.Panels(side, side_count)) return;
    const int32_t bin = bin_of[p] - 1;
    const double x = Coordinate(rows.u[p], bins.panel[bin], 1 / table.width);
    if (!sides.upper(side)) {
      OfLower(p, bin, x);
      return;
    }
    for (int32_t k = 0; k < entries.per_row; ++k) {
      const int64_t slot = p * entries.per_row + k;
      const double weight = entries.weight[slot];
      if (weight == 0) continue;
      double value = 0, slope = 0;
      Whole(p, side - 1, entries.group[slot], x, &value, &slope);
      Edge(p, bin, groups.edge[entries.group[slot]], entries.first[slot], x, &value, &slope);
      totals[order[p]].loss += weight * value;
      gradient[order[p]] += weight * slope;
    }
  }

  HVDREC_HD void OfLower(int64_t p, int32_t bin, double x) const {
    const int32_t block = blocks.of(bins, bin, p);
    double slope = Series<P>(bins.slope + int64_t{bin} * P, x) - bins.far[bin];
    if (block > blocks.first[bin]) {
      slope += Series<P>(acting + int64_t{block - 1} * kSums + kBlockRows, x);
    }
    slope += acting[int64_t{block} * kSums + (p - blocks.begin(bins, block))];
    gradient[order[p]] -= slope;
  }

  // The pairs with the bins after the edge.
  HVDREC_HD void Whole(int64_t p, int32_t lower, int32_t group, double x, double* value,
                       double* slope) const {
    *value += Series<P>(groups.value + int64_t{group} * P, x);
    *slope += Series<P>(groups.slope + int64_t{group} * P, x);
    const int32_t next = groups.next[group];
    if (next == sides.last_bin[lower]) return;
    const double count = bins.running[0][next];
    *value += count * (table.margin - rows.u[p]) + bins.running[1][next];
    *slope -= count;
  }

  // The pairs with the rows of the edge from `first` on.
  HVDREC_HD void Edge(int64_t p, int32_t bin, int32_t edge, int32_t first, double x, double* value,
                      double* slope) const {
    const int32_t block = blocks.of(bins, edge, first);
    for (int32_t q = first; q < blocks.end(bins, block); ++q) {
      double v, s;
      f(rows.u[p] - rows.u[q], &v, &s);
      *value += v;
      *slope += s;
    }
    if (block + 1 == blocks.last[edge]) return;
    const double* const moments = blocks.moments + int64_t{block + 1} * P;
    const double lead = bins.panel[bin] - bins.panel[edge];
    if (InReach(table, lead)) {
      double values[P], slopes[P];
      for (int k = 0; k < P; ++k) {
        values[k] = slopes[k] = 0;
        FromBelow<P>(table, lead, moments, k, values + k, slopes + k);
      }
      *value += Series<P>(values, x);
      *slope += Series<P>(slopes, x);
    } else if (lead < static_cast<double>(table.first)) {
      const double score =
          (bins.panel[edge] + 0.5) * table.width * moments[0] + table.width / 2 * moments[1];
      *value += moments[0] * (table.margin - rows.u[p]) + score;
      *slope -= moments[0];
    }
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_BLOCK_STEPS_H_
