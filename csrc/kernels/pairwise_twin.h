// The pairwise losses as a GPU computes them, on whatever machine runs the steps.

#ifndef HVDREC_KERNELS_PAIRWISE_TWIN_H_
#define HVDREC_KERNELS_PAIRWISE_TWIN_H_

#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>

#include "kernels/bad_rows.h"
#include "kernels/pair_table.h"
#include "kernels/pairwise_steps.h"
#include "kernels/pairwise_sweep_steps.h"

namespace hvdrec {

// See Pairwise in kernels/gpu_losses.h. Where the CPU splits labels at their median, this does at
// the bits of their numbers, so sums are taken in another order; all else is the same.
template <typename T, typename Machine>
class PairwiseTwin {
 public:
  PairwiseTwin(const PairwiseRows<T>& rows, const PairwiseOptions& options, Machine& machine)
      : rows_(rows),
        options_(options),
        machine_(machine),
        n_(rows.count),
        function_{options.loss, options.margin,
                  options.loss == PairLoss::kFocal ? options.gamma : 0.0} {}

  PairwiseResult Sum(T* gradient) {
    PairwiseResult result;
    if (n_ == 0) return result;
    Prepare();
    const int64_t bad_row = FirstBad(machine_, heads_, n_);
    if (bad_row >= 0) {
      constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
      ForEach(machine_, n_, FillWith<T>{kNan, gradient});
      result.bad_row = bad_row;
      result.loss = result.pairs = std::numeric_limits<double>::quiet_NaN();
      return result;
    }
    SortByScore();
    const int levels = BitsOf(NumberLabels());
    if (levels > 0 && smooth()) PutTable();
    AllocateLevel();
    for (int level = 0; level < levels; ++level) {
      if (!smooth()) {
        AddLevel<1>(level);
      } else if (table_->order == 8) {
        AddLevel<8>(level);
      } else {
        AddLevel<12>(level);
      }
    }
    const pairwise_steps::Total* const total = hvdrec::Sum(machine_, totals_, n_);
    ForEach(machine_, n_,
            pairwise_steps::Finish<T>{gradient_, total, options_.temperature, gradient});
    const pairwise_steps::Total sums = machine_.Read(total);
    result.pairs = sums.pairs;
    result.loss = sums.pairs > 0 ? sums.loss / sums.pairs : 0;
    return result;
  }

 private:
  bool smooth() const {
    return options_.loss == PairLoss::kLogistic || options_.loss == PairLoss::kFocal;
  }

  template <typename V>
  V* New(int64_t count) {
    return machine_.template Allocate<V>(count);
  }

  void Prepare() {
    u_ = New<double>(n_);
    gradient_ = New<double>(n_);
    totals_ = New<pairwise_steps::Total>(n_);
    keys_ = New<uint64_t>(n_);
    label_keys_ = New<uint64_t>(n_);
    sorted_keys_ = New<uint64_t>(n_);
    order_ = New<int32_t>(n_);
    by_label_ = New<int32_t>(n_);
    heads_ = New<int32_t>(n_);
    running_ = New<int32_t>(n_);
    machine_.Zero(gradient_, n_);
    machine_.Zero(totals_, n_);
    ForEach(machine_, n_,
            pairwise_steps::Prepare<T>{rows_, options_.temperature, options_.label_scale, u_, keys_,
                                       label_keys_, order_, heads_});
  }

  void SortByScore() {
    by_score_ = New<int32_t>(n_);
    machine_.SortPairs(keys_, sorted_keys_, order_, by_score_, n_, 64);
  }

  // Numbers the labels of each session; gives the largest number. Leaves the rows in the order of
  // session and label in by_label_.
  int32_t NumberLabels() {
    machine_.SortPairs(label_keys_, sorted_keys_, order_, by_label_, n_, 64);
    if (rows_.sessions != nullptr) {
      ForEach(machine_, n_, pairwise_steps::SessionKeys{rows_.sessions, by_label_, keys_});
      machine_.SortPairs(keys_, sorted_keys_, by_label_, order_, n_, 64);
      std::swap(by_label_, order_);
    }
    session_heads_ = New<int32_t>(n_);
    session_of_ = New<int32_t>(n_);
    rank_ = New<pairwise_steps::Largest>(n_);
    int32_t* const first_grade = New<int32_t>(n_);
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

  void PutTable() {
    // As the CPU has it.
    table_ = GetPairTable(function_, kPanelTolerance<T>);
    const auto put = [&](const std::vector<double>& from) {
      double* const to = New<double>(static_cast<int64_t>(from.size()));
      machine_.Upload(from.data(), static_cast<int64_t>(from.size()), to);
      return to;
    };
    device_table_ = {table_->width,
                     table_->margin,
                     table_->first,
                     table_->last,
                     put(table_->value),
                     put(table_->slope),
                     put(table_->slope_transposed)};
  }

  void AllocateLevel() {
    sides_ = {New<int32_t>(n_), New<int32_t>(n_), New<int32_t>(n_),
              New<int32_t>(n_), New<int32_t>(n_), New<int32_t>(n_)};
    row_side_ = New<int32_t>(n_);
    line_order_ = New<int32_t>(n_);
    lined_ = {New<double>(n_), New<double>(n_), New<double>(n_), New<int32_t>(n_)};
    if (!smooth()) sweep_sums_ = {New<double>(n_), New<double>(n_)};
  }

  // P: the order of the panels; 1: none, as the loss isn't smooth.
  template <int P>
  void AddLevel(int level) {
    ForEach(machine_, n_, pairwise_steps::SideHeads{session_heads_, rank_, level, heads_});
    machine_.InclusiveSum(heads_, running_, n_);
    ForEach(machine_, n_,
            pairwise_steps::FillSides{heads_, running_, session_of_, rank_, by_label_, level, n_,
                                      sides_, row_side_});
    const int32_t side_count = machine_.Read(running_ + n_ - 1);
    ForEach(machine_, n_, pairwise_steps::SideKeys{by_score_, row_side_, keys_});
    machine_.SortPairs(keys_, sorted_keys_, by_score_, line_order_, n_, BitsOf(side_count - 1));
    const double inverse_width = smooth() ? 1 / table_->width : 1;
    ForEach(
        machine_, n_,
        pairwise_steps::Line<T>{u_, rows_.weights, row_side_, line_order_, inverse_width, lined_});
    if constexpr (P > 1) AddCells<P>(side_count);
    const PairValue f{function_.loss, function_.margin, function_.gamma};
    if constexpr (P == 1) {
      machine_.Launch(
          pairwise_steps::SumSweep{lined_, sides_, side_count, function_.margin, sweep_sums_},
          side_count);
      ForEach(machine_, n_,
              pairwise_steps::Sweep{lined_, line_order_, sides_, side_count, f, sweep_sums_,
                                    gradient_, totals_});
    }
    ForEach(machine_, n_,
            pairwise_steps::Evaluate<P>{lined_, line_order_, sides_, cells_, side_count,
                                        P > 1 ? running_ : nullptr, inverse_width, f, gradient_,
                                        totals_});
  }

  // What the panels of this level do to each other; leaves each place's cell in running_.
  template <int P>
  void AddCells(int32_t side_count) {
    const double inverse_width = 1 / table_->width;
    ForEach(machine_, n_, pairwise_steps::CellHeads{lined_, heads_});
    machine_.InclusiveSum(heads_, running_, n_);
    const int64_t cell_count = machine_.Read(running_ + n_ - 1);
    AllocateCells(cell_count, P);
    ForEach(machine_, n_,
            pairwise_steps::FillCells{lined_, heads_, running_, n_, side_count, sides_, cells_});
    ForEach(machine_, cell_count, pairwise_steps::CountPieces{side_count, sides_, cells_});
    machine_.InclusiveSum(cells_.pieces, pieces_before_, cell_count);
    const int64_t piece_count = machine_.Read(pieces_before_ + cell_count - 1);
    if (piece_count == 0) return;
    if (piece_count > piece_capacity_) {
      piece_capacity_ = piece_count;
      pieces_ = New<double>(piece_count * P);
    }
    machine_.Launch(pairwise_steps::PieceMoments<P>{lined_, sides_, cells_, cell_count,
                                                    pieces_before_, inverse_width, pieces_},
                    piece_count);
    ForEach(machine_, cell_count * P,
            pairwise_steps::CellMoments<P>{cells_, pieces_before_, pieces_});
    machine_.Launch(pairwise_steps::RunningSums<P>{sides_, cells_, side_count, table_->width},
                    side_count);
    machine_.Launch(pairwise_steps::Act<P>{sides_, cells_, side_count, device_table_}, cell_count);
    ForEach(machine_, cell_count,
            pairwise_steps::GiveCellLoss{line_order_, sides_, cells_, side_count, totals_});
  }

  void AllocateCells(int64_t count, int order) {
    if (count <= cell_capacity_) return;
    cell_capacity_ = count;
    pieces_before_ = New<int32_t>(count);
    cells_ = {New<double>(count),         New<int32_t>(count),
              New<int32_t>(count),        New<int32_t>(count),
              New<int32_t>(count),        {New<double>(count), New<double>(count)},
              New<double>(count * order), New<double>(count * order),
              New<double>(count),         New<double>(count)};
  }

  const PairwiseRows<T>& rows_;
  const PairwiseOptions& options_;
  Machine& machine_;
  const int64_t n_;
  const PairFunction function_;
  std::shared_ptr<const PairTable> table_;
  pairwise_steps::DeviceTable device_table_ = {};

  double* u_ = nullptr;
  double* gradient_ = nullptr;
  pairwise_steps::Total* totals_ = nullptr;
  uint64_t *keys_ = nullptr, *label_keys_ = nullptr, *sorted_keys_ = nullptr;
  int32_t *order_ = nullptr, *by_label_ = nullptr, *by_score_ = nullptr;
  int32_t *heads_ = nullptr, *running_ = nullptr;
  int32_t *session_heads_ = nullptr, *session_of_ = nullptr;
  pairwise_steps::Largest* rank_ = nullptr;

  // Of the level at hand.
  pairwise_steps::Sides sides_ = {};
  pairwise_steps::Lined lined_ = {};
  pairwise_steps::Cells cells_ = {};
  pairwise_steps::SweepSums sweep_sums_ = {};
  int32_t *row_side_ = nullptr, *line_order_ = nullptr, *pieces_before_ = nullptr;
  double* pieces_ = nullptr;
  int64_t cell_capacity_ = 0, piece_capacity_ = 0;
};

template <typename T, typename Machine>
PairwiseResult RunPairwiseTwin(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                               Machine& machine, T* gradient) {
  CheckPairwise(options);
  if (rows.count > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("more than 2^31 - 1 rows");
  }
  if (std::isfinite(options.limit) || options.hardest < 1) {
    throw std::invalid_argument(
        "limit and the share of hardest pairs have no CUDA form: place this op on the CPU");
  }
  return PairwiseTwin<T, Machine>(rows, options, machine).Sum(gradient);
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_TWIN_H_
