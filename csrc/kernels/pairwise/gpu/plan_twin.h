// Which rows make pairs, as computed on a GPU (kernels/pairwise/gpu/side_steps.h), and the panels
// that contain them.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_PLAN_TWIN_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_PLAN_TWIN_H_

#include <utility>
#include <vector>

#include "kernels/gpu/bad_rows.h"
#include "kernels/pairwise/gpu/row_steps.h"
#include "kernels/pairwise/table.h"

namespace hvdrec {

// The rows of a level: places are in the order of side and score, `order` has the row at each.
struct PairwiseLevel {
  pairwise_steps::Sides sides;
  pairwise_steps::SortedRows lined;
  int32_t* order;
  int32_t side_count;
};

// The CPU splits labels at their median; this splits them at the bits of their numbers.
template <typename T, typename Machine>
class PairwisePlanTwin {
 public:
  PairwisePlanTwin(const PairwiseRows<T>& rows, const PairwiseOptions& options, Machine& machine)
      : rows_(rows), options_(options), machine_(machine), n_(rows.count) {}

  // For at least one row. Returns the first with a number that isn't finite, or -1.
  int64_t Prepare() {
    u_ = New<double>();
    keys_ = New<uint64_t>();
    label_keys_ = New<uint64_t>();
    sorted_keys_ = New<uint64_t>();
    order_ = New<int32_t>();
    by_label_ = New<int32_t>();
    heads_ = New<int32_t>();
    running_ = New<int32_t>();
    ForEach(machine_, n_,
            pairwise_steps::Prepare<T>{rows_, options_.temperature, options_.label_scale, u_, keys_,
                                       label_keys_, order_, heads_});
    return FirstBad(machine_, heads_, n_);
  }

  // How many levels there are.
  int Order() {
    by_score_ = New<int32_t>();
    machine_.SortPairs(keys_, sorted_keys_, order_, by_score_, n_, 64);
    row_side_ = New<int32_t>();
    return BitsOf(NumberLabels());
  }

  PairwiseLevel NewLevel() {
    return {{New<int32_t>(), New<int32_t>(), New<int32_t>(), New<int32_t>(), New<int32_t>(),
             New<int32_t>()},
            {New<double>(), New<double>(), New<double>(), New<int32_t>()},
            New<int32_t>(),
            0};
  }

  void FillLevel(int level, double panel_width, PairwiseLevel* out) {
    ForEach(machine_, n_, pairwise_steps::SideHeads{session_heads_, rank_, level, heads_});
    machine_.InclusiveSum(heads_, running_, n_);
    ForEach(machine_, n_,
            pairwise_steps::FillSides{heads_, running_, session_of_, rank_, by_label_, level, n_,
                                      out->sides, row_side_});
    out->side_count = machine_.Read(running_ + n_ - 1);
    ForEach(machine_, n_, pairwise_steps::SideKeys{by_score_, row_side_, keys_});
    machine_.SortPairs(keys_, sorted_keys_, by_score_, out->order, n_, BitsOf(out->side_count - 1));
    ForEach(machine_, n_,
            pairwise_steps::Line<T>{u_, rows_.weights, row_side_, out->order, 1 / panel_width,
                                    out->lined});
  }

 private:
  template <typename V>
  V* New() {
    return machine_.template Allocate<V>(n_);
  }

  // Numbers the labels of each session; returns the largest number. Leaves the rows in the order of
  // session and label in by_label_.
  int32_t NumberLabels() {
    machine_.SortPairs(label_keys_, sorted_keys_, order_, by_label_, n_, 64);
    if (rows_.sessions != nullptr) {
      ForEach(machine_, n_, pairwise_steps::SessionKeys{rows_.sessions, by_label_, keys_});
      machine_.SortPairs(keys_, sorted_keys_, by_label_, order_, n_, 64);
      std::swap(by_label_, order_);
    }
    session_heads_ = New<int32_t>();
    session_of_ = New<int32_t>();
    rank_ = New<pairwise_steps::Largest>();
    int32_t* const first_grade = New<int32_t>();
    ForEach(machine_, n_,
            pairwise_steps::GradeHeads<T>{rows_.labels, rows_.sessions, by_label_, session_heads_,
                                          heads_});
    machine_.InclusiveSum(session_heads_, session_of_, n_);
    machine_.InclusiveSum(heads_, running_, n_);
    ForEach(machine_, n_,
            pairwise_steps::FirstGrades{session_heads_, session_of_, running_, first_grade});
    ForEach(machine_, n_, pairwise_steps::Ranks{session_of_, running_, first_grade, rank_});
    return machine_.Read(hvdrec::Sum(machine_, rank_, n_)).value;
  }

  const PairwiseRows<T>& rows_;
  const PairwiseOptions& options_;
  Machine& machine_;
  const int64_t n_;

  double* u_ = nullptr;
  uint64_t *keys_ = nullptr, *label_keys_ = nullptr, *sorted_keys_ = nullptr;
  int32_t *order_ = nullptr, *by_label_ = nullptr, *by_score_ = nullptr, *row_side_ = nullptr;
  int32_t *heads_ = nullptr, *running_ = nullptr;
  int32_t *session_heads_ = nullptr, *session_of_ = nullptr;
  pairwise_steps::Largest* rank_ = nullptr;
};

// The bins of one level after another.
template <typename Machine>
class PairwiseBinsTwin {
 public:
  // `table` may be nullptr where the loss isn't smooth.
  PairwiseBinsTwin(const PairTable* table, int64_t rows, Machine& machine)
      : machine_(machine), n_(rows) {
    if (table == nullptr) return;
    table_ = {table->width,
              table->margin,
              table->first,
              table->last,
              Put(table->value),
              Put(table->slope),
              Put(table->slope_transposed)};
    heads_ = machine_.template Allocate<int32_t>(n_);
    bin_of_ = machine_.template Allocate<int32_t>(n_);
  }

  // Computes the moments of a level's bins, and their sums; false if no side is computed by panels.
  template <int P>
  bool Gather(const PairwiseLevel& level) {
    using pairwise_steps::BinRows;
    ForEach(machine_, n_, pairwise_steps::BinHeads{level.lined, heads_});
    machine_.InclusiveSum(heads_, bin_of_, n_);
    count_ = machine_.Read(bin_of_ + n_ - 1);
    Allocate(P);
    ForEach(machine_, n_,
            pairwise_steps::FillBins{level.lined, heads_, bin_of_, n_, level.side_count,
                                     level.sides, bins_});
    ForEach(machine_, count_, pairwise_steps::CountPieces{level.side_count, level.sides, bins_});
    int32_t* const before = pieces_before_.For(machine_, count_);
    machine_.InclusiveSum(bins_.pieces, before, count_);
    const int64_t pieces = machine_.Read(before + count_ - 1);
    if (pieces == 0) return false;
    double* const parts = pieces_.For(machine_, pieces * P);
    machine_.Launch(pairwise_steps::PieceMoments<P, BinRows>{{level.lined, level.sides, bins_,
                                                              1 / table_.width},
                                                             count_,
                                                             bins_.pieces,
                                                             before,
                                                             parts},
                    pieces);
    ForEach(machine_, count_ * P,
            pairwise_steps::AddPieces<P>{bins_.pieces, before, parts, bins_.moments});
    machine_.Launch(
        pairwise_steps::RunningSums<P>{level.sides, bins_, level.side_count, table_.width},
        level.side_count);
    return true;
  }

  const pairwise_steps::DeviceTable& table() const { return table_; }
  const pairwise_steps::Bins& bins() const { return bins_; }
  int64_t count() const { return count_; }
  // By place, from 1.
  const int32_t* bin_of() const { return bin_of_; }

 private:
  const double* Put(const std::vector<double>& from) {
    const auto count = static_cast<int64_t>(from.size());
    double* const to = machine_.template Allocate<double>(count);
    machine_.Upload(from.data(), count, to);
    return to;
  }

  void Allocate(int order) {
    if (count_ <= capacity_) return;
    capacity_ = count_;
    const auto numbers = [&] { return machine_.template Allocate<int32_t>(count_); };
    const auto doubles = [&](int64_t each) {
      return machine_.template Allocate<double>(count_ * each);
    };
    bins_ = {
        doubles(1),     numbers(),      numbers(),  numbers(), numbers(), {doubles(1), doubles(1)},
        doubles(order), doubles(order), doubles(1), doubles(1)};
  }

  Machine& machine_;
  const int64_t n_;
  pairwise_steps::DeviceTable table_ = {};
  pairwise_steps::Bins bins_ = {};
  int64_t count_ = 0, capacity_ = 0;
  int32_t *heads_ = nullptr, *bin_of_ = nullptr;
  Room<int32_t> pieces_before_;
  Room<double> pieces_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_PLAN_TWIN_H_
