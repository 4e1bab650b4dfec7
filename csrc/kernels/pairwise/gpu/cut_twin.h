// The pairwise losses over the pairs that a limit or a share of hardest pairs selects, as computed
// on a GPU.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_CUT_TWIN_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_CUT_TWIN_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/pairwise/gpu/block_steps.h"
#include "kernels/pairwise/gpu/plan_twin.h"

namespace hvdrec {

// Pairs are selected over all levels at once, so all levels are kept: memory O(n log L).
template <typename T, typename Machine>
class PairwiseCutTwin {
 public:
  PairwiseCutTwin(const PairwiseOptions& options, const PairFunction& function, bool weighted,
                  int64_t rows, Machine& machine, PairwisePlanTwin<T, Machine>* plan,
                  PairwiseBinsTwin<Machine>* bins, double* gradient, pairwise_steps::Total* totals)
      : options_(options),
        function_(function),
        f_{function.loss, function.margin, function.gamma},
        weighted_(weighted),
        n_(rows),
        per_row_(options.hardest < 1 ? 2 : 1),
        machine_(machine),
        plan_(*plan),
        bins_(*bins),
        gradient_(gradient),
        totals_(totals) {}

  // Adds all levels' gradient and loss. P: the order of the panels; 1: none, as the loss isn't
  // smooth.
  template <int P>
  void Add(int levels, double panel_width) {
    Open(levels, panel_width);
    const int64_t pairs = options_.hardest < 1 ? KeepHardest() : Count(true);
    ForEach(machine_, 1, pairwise_steps::GivePairs{static_cast<double>(pairs), totals_});
    if (pairs == 0) return;
    AllocateEntries();
    for (const Level& level : levels_) {
      ForEach(machine_, n_,
              pairwise_steps::SumRuns{level.rows.lined, level.rows.order, level.rows.sides,
                                      level.rows.side_count, f_, level.runs, share(), gradient_,
                                      totals_});
      if constexpr (P == 1) {
        AddSweep(level);
      } else {
        if (bins_.template Gather<P>(level.rows)) AddPanels<P>(level);
      }
    }
  }

 private:
  struct Level {
    PairwiseLevel rows;
    pairwise_steps::Runs runs;
  };

  template <typename V>
  V* New(int64_t count) {
    return machine_.template Allocate<V>(count);
  }
  int64_t slots() const { return n_ * per_row_; }
  const double* share() const { return &bisection_->share; }

  void Open(int levels, double panel_width) {
    counts_ = New<pairwise_steps::Counted>(n_);
    bisection_ = New<pairwise_steps::Bisection>(1);
    ForEach(machine_, 1, pairwise_steps::StartBisection{bisection_});
    for (int l = 0; l < levels; ++l) {
      Level level{plan_.NewLevel(), {New<int32_t>(n_), New<int32_t>(n_)}};
      plan_.FillLevel(l, panel_width, &level.rows);
      ForEach(machine_, n_,
              pairwise_steps::OpenRuns{level.rows.lined, level.rows.sides, level.runs});
      levels_.push_back(level);
    }
    if (std::isfinite(options_.limit)) Cut(options_.limit, false);
  }

  void Cut(double limit, bool positive) {
    for (const Level& level : levels_) {
      ForEach(machine_, n_,
              pairwise_steps::CutAtLead{level.rows.lined, level.rows.sides, limit, positive,
                                        level.runs});
    }
  }

  // The number of selected pairs, with or without those on the edge.
  const pairwise_steps::Counted* CountRuns(bool edges, bool weighing) {
    for (size_t l = 0; l < levels_.size(); ++l) {
      const Level& level = levels_[l];
      ForEach(machine_, n_,
              pairwise_steps::CountPairs{level.rows.lined, level.rows.sides,
                                         edges ? level.runs.some : level.runs.all, weighing, l == 0,
                                         counts_});
    }
    return hvdrec::Sum(machine_, counts_, n_);
  }
  int64_t Count(bool weighing) { return machine_.Read(CountRuns(true, weighing)).value; }

  // Like KeepHardest of kernels/pairwise/hardest.h; returns how many pairs are kept.
  int64_t KeepHardest() {
    const int64_t wanted = ShareOfPairs(Count(false), options_.hardest);
    Cut(function_.margin + function_.Reach(), true);
    const int64_t kept = std::min(wanted, Count(false));
    if (kept == 0) return 0;
    std::vector<int32_t*> middles;
    for (const Level& level : levels_) {
      middles.push_back(New<int32_t>(n_));
      ForEach(machine_, n_,
              pairwise_steps::OpenEdges{level.rows.lined, level.rows.sides, level.runs});
    }
    for (int step = 0; step < pairwise_steps::kBisections; ++step) {
      for (size_t l = 0; l < levels_.size(); ++l) {
        const Level& level = levels_[l];
        ForEach(machine_, n_,
                pairwise_steps::SearchEdges{{level.rows.lined, f_, weighted_},
                                            level.rows.sides,
                                            bisection_,
                                            l == 0,
                                            level.runs,
                                            middles[l],
                                            counts_});
      }
      ForEach(machine_, 1,
              pairwise_steps::Bisect{hvdrec::Sum(machine_, counts_, n_), kept, bisection_});
    }
    for (size_t l = 0; l < levels_.size(); ++l) {
      const Level& level = levels_[l];
      ForEach(machine_, n_,
              pairwise_steps::NarrowEdges{level.rows.lined, level.rows.sides, bisection_,
                                          middles[l], level.runs});
    }
    const auto* const reached = CountRuns(true, false);
    const auto* const harder = CountRuns(false, false);
    ForEach(machine_, 1, pairwise_steps::ShareEdge{reached, harder, kept, bisection_});
    return kept;
  }

  void AllocateEntries() {
    entries_ = {per_row_, New<int32_t>(slots()), New<double>(slots()), New<int32_t>(slots())};
    keys_ = New<uint64_t>(slots());
    sorted_keys_ = New<uint64_t>(slots());
    slots_ = New<int32_t>(slots());
    order_ = New<int32_t>(slots());
    weights_ = New<double>(slots());
  }

  // Leaves them in the order of their keys.
  void PutEntries(const Level& level, const int32_t* bin_of) {
    ForEach(machine_, n_,
            pairwise_steps::MakeEntries{level.rows.lined, level.rows.sides, level.rows.side_count,
                                        level.runs, share(), bin_of, entries_, keys_, slots_});
    machine_.SortPairs(keys_, sorted_keys_, slots_, order_, slots(), 64);
  }

  // Weights in the order of `keys`, added up within each lower side.
  pairwise_steps::RunningWeights AddUp(const Level& level, const uint64_t* keys, int64_t count,
                                       const int32_t* from, const int32_t* to, double* weights) {
    const int32_t sides = level.rows.side_count;
    int32_t* const begin = range_[0].For(machine_, sides);
    int32_t* const end = range_[1].For(machine_, sides);
    ForEach(machine_, sides,
            pairwise_steps::KeyRanges{level.rows.sides, sides, keys, count, from, to, begin, end});
    machine_.Launch(RunningColumns<1>{begin, end, false, 1, weights}, sides);
    return {keys, begin, end, weights};
  }

  void AddSweep(const Level& level) {
    const PairwiseLevel& rows = level.rows;
    const pairwise_steps::SweepSums sums{sweep_[0].For(machine_, n_), sweep_[1].For(machine_, n_)};
    machine_.Launch(
        pairwise_steps::SumSweep{rows.lined, rows.sides, rows.side_count, function_.margin, sums},
        rows.side_count);
    PutEntries(level, nullptr);
    ForEach(machine_, slots(), pairwise_steps::EntryWeights{order_, entries_.weight, weights_});
    const auto acting =
        AddUp(level, sorted_keys_, slots(), rows.sides.begin, rows.sides.end, weights_);
    ForEach(
        machine_, n_,
        pairwise_steps::SweepRuns{rows.lined, rows.order, rows.sides, rows.side_count,
                                  function_.margin, entries_, sums, acting, gradient_, totals_});
  }

  template <int P>
  void AddPanels(const Level& level) {
    const PairwiseLevel& rows = level.rows;
    PutEntries(level, bins_.bin_of());
    const int64_t groups = MakeGroups();
    if (groups == 0) return;
    TakeMoments<P>(rows, groups);
    machine_.Launch(
        pairwise_steps::ActOnGroups<P>{rows.sides, bins_.bins(), bins_.table(), groups_}, groups);
    const auto far = AddUpFar<P>(level, groups);
    machine_.Launch(RunningColumns<P>{groups_.first_of, groups_.last_of, false, P, groups_.moments},
                    bins_.count());
    machine_.Launch(pairwise_steps::ActOnLower<P>{rows.sides, bins_.bins(), rows.side_count,
                                                  bins_.table(), groups_, far},
                    bins_.count());
    MakeBlocks<P>(rows);
    ActOnBlocks<P>(rows);
    ForEach(machine_, n_,
            pairwise_steps::EvaluateRuns<P>{
                rows.lined, rows.order, rows.sides, bins_.bins(), rows.side_count, bins_.bin_of(),
                groups_, blocks_, lists_.sums, entries_, bins_.table(), f_, gradient_, totals_});
  }

  // For the entries in their order; returns their number.
  int64_t MakeGroups() {
    int32_t* const heads = heads_.For(machine_, slots());
    int32_t* const running = running_.For(machine_, slots());
    const pairwise_steps::EntryBins entries{sorted_keys_, bins_.bin_of()};
    ForEach(machine_, slots(), pairwise_steps::GroupHeads{entries, heads});
    machine_.InclusiveSum(heads, running, slots());
    const int64_t count = machine_.Read(running + slots() - 1);
    if (count == 0) return 0;
    groups_.bin = group_[0].For(machine_, count);
    groups_.edge = group_[1].For(machine_, count);
    groups_.begin = group_[2].For(machine_, count);
    groups_.end = group_[3].For(machine_, count);
    groups_.pieces = group_[4].For(machine_, count);
    groups_.next = group_[5].For(machine_, count);
    groups_.first_of = by_bin_[0].For(machine_, bins_.count());
    groups_.last_of = by_bin_[1].For(machine_, bins_.count());
    machine_.Zero(groups_.first_of, bins_.count());
    machine_.Zero(groups_.last_of, bins_.count());
    ForEach(machine_, slots(),
            pairwise_steps::FillGroups{entries, order_, slots(), heads, running, entries_.group,
                                       groups_});
    return count;
  }

  // Takes the groups' moments.
  template <int P>
  void TakeMoments(const PairwiseLevel& rows, int64_t groups) {
    using pairwise_steps::GroupEntries;
    groups_.moments = group_sums_[0].For(machine_, groups * P);
    groups_.value = group_sums_[1].For(machine_, groups * P);
    groups_.slope = group_sums_[2].For(machine_, groups * P);
    ForEach(machine_, groups, pairwise_steps::CountGroupPieces{groups_});
    int32_t* const before = pieces_before_.For(machine_, groups);
    machine_.InclusiveSum(groups_.pieces, before, groups);
    const int64_t pieces = machine_.Read(before + groups - 1);
    double* const parts = pieces_.For(machine_, pieces * P);
    machine_.Launch(
        pairwise_steps::PieceMoments<P, GroupEntries>{
            {rows.lined, bins_.bins(), groups_, entries_, order_, 1 / bins_.table().width},
            groups,
            groups_.pieces,
            before,
            parts},
        pieces);
    ForEach(machine_, groups * P,
            pairwise_steps::AddPieces<P>{groups_.pieces, before, parts, groups_.moments});
  }

  // The weights of groups by the bin from which on they act linearly, added up.
  template <int P>
  pairwise_steps::RunningWeights AddUpFar(const Level& level, int64_t groups) {
    uint64_t* const keys = next_[0].For(machine_, groups);
    uint64_t* const sorted = next_[1].For(machine_, groups);
    int32_t* const unsorted = next_order_[0].For(machine_, groups);
    int32_t* const order = next_order_[1].For(machine_, groups);
    ForEach(machine_, groups, pairwise_steps::NextKeys{groups_, keys, unsorted});
    machine_.SortPairs(keys, sorted, unsorted, order, groups, BitsOf(bins_.count()));
    ForEach(machine_, groups, pairwise_steps::GroupWeights<P>{order, groups_, weights_});
    return AddUp(level, sorted, groups, level.rows.sides.first_bin, level.rows.sides.last_bin,
                 weights_);
  }

  template <int P>
  void MakeBlocks(const PairwiseLevel& rows) {
    int32_t* const count = by_bin_[2].For(machine_, bins_.count());
    int32_t* const last = by_bin_[3].For(machine_, bins_.count());
    ForEach(machine_, bins_.count(),
            pairwise_steps::CountBlocks{rows.sides, bins_.bins(), rows.side_count, count});
    machine_.InclusiveSum(count, last, bins_.count());
    block_count_ = machine_.Read(last + bins_.count() - 1);
    int32_t* const first = by_bin_[4].For(machine_, bins_.count());
    blocks_ = {count, last, first, block_[0].For(machine_, block_count_),
               block_sums_[0].For(machine_, block_count_ * P)};
    ForEach(machine_, bins_.count(), pairwise_steps::FirstBlocks{blocks_});
    ForEach(machine_, n_, pairwise_steps::FillBlocks{bins_.bins(), bins_.bin_of(), blocks_});
    ForEach(machine_, block_count_,
            pairwise_steps::BlockMoments<P>{rows.lined, bins_.bins(), blocks_,
                                            1 / bins_.table().width});
    machine_.Launch(RunningColumns<P>{first, last, true, P, blocks_.moments}, bins_.count());
  }

  // The effect of the entries within the bins in which they begin.
  template <int P>
  void ActOnBlocks(const PairwiseLevel& rows) {
    constexpr int kSums = pairwise_steps::ListPieces<P>::kSums;
    const auto count = static_cast<int32_t>(block_count_);
    ForEach(machine_, slots(),
            pairwise_steps::ListKeys{
                {sorted_keys_, bins_.bin_of()}, bins_.bins(), blocks_, count, keys_});
    machine_.SortPairs(keys_, sorted_keys_, order_, slots_, slots(), BitsOf(count));
    lists_ = {block_[1].For(machine_, count), block_[2].For(machine_, count),
              block_[3].For(machine_, count), block_sums_[1].For(machine_, block_count_ * kSums)};
    ForEach(machine_, count, pairwise_steps::FillLists{sorted_keys_, slots(), lists_});
    int32_t* const before = pieces_before_.For(machine_, count);
    machine_.InclusiveSum(lists_.pieces, before, count);
    const int64_t pieces = machine_.Read(before + count - 1);
    double* const parts = pieces_.For(machine_, pieces * kSums);
    machine_.Launch(
        pairwise_steps::ListPieces<P>{rows.lined, bins_.bins(), bins_.bin_of(), blocks_, count,
                                      lists_, before, entries_, slots_, bins_.table(), f_, parts},
        pieces);
    ForEach(machine_, block_count_ * kSums,
            pairwise_steps::AddPieces<kSums>{lists_.pieces, before, parts, lists_.sums});
    machine_.Launch(RunningColumns<P>{blocks_.first, blocks_.last, false, kSums,
                                      lists_.sums + pairwise_steps::kBlockRows},
                    bins_.count());
  }

  const PairwiseOptions& options_;
  const PairFunction& function_;
  const PairValue f_;
  const bool weighted_;
  const int64_t n_;
  const int32_t per_row_;
  Machine& machine_;
  PairwisePlanTwin<T, Machine>& plan_;
  PairwiseBinsTwin<Machine>& bins_;
  double* const gradient_;
  pairwise_steps::Total* const totals_;

  std::vector<Level> levels_;
  pairwise_steps::Counted* counts_ = nullptr;
  pairwise_steps::Bisection* bisection_ = nullptr;

  // Of the level at hand.
  pairwise_steps::Entries entries_ = {};
  pairwise_steps::Groups groups_ = {};
  pairwise_steps::Blocks blocks_ = {};
  pairwise_steps::Lists lists_ = {};
  int64_t block_count_ = 0;
  uint64_t *keys_ = nullptr, *sorted_keys_ = nullptr;
  int32_t *slots_ = nullptr, *order_ = nullptr;
  double* weights_ = nullptr;  // by slot, or by group
  Room<double> sweep_[2], pieces_, group_sums_[3], block_sums_[2];
  Room<int32_t> range_[2], heads_, running_, group_[6], by_bin_[5], block_[4], pieces_before_;
  Room<uint64_t> next_[2];
  Room<int32_t> next_order_[2];
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_CUT_TWIN_H_
