// The pairwise losses as computed on a GPU, on any machine that runs the steps.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_TWIN_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_TWIN_H_

#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>

#include "kernels/pairwise/gpu/cut_twin.h"
#include "kernels/pairwise/gpu/plan_twin.h"
#include "kernels/pairwise/gpu/sweep_steps.h"

namespace hvdrec {

// See Pairwise in kernels/gpu/gpu_losses.h. The plan splits labels in a different way from the
// CPU's, so sums are taken in a different order; everything else is the same.
template <typename T, typename Machine>
class PairwiseTwin {
 public:
  PairwiseTwin(const PairwiseRows<T>& rows, const PairwiseOptions& options, Machine& machine)
      : options_(options),
        machine_(machine),
        n_(rows.count),
        weighted_(rows.weights != nullptr),
        function_{options.loss, options.margin,
                  options.loss == PairLoss::kFocal ? options.gamma : 0.0},
        plan_(rows, options, machine) {}

  PairwiseResult Sum(T* gradient) {
    PairwiseResult result;
    if (n_ == 0) return result;
    const int64_t bad_row = plan_.Prepare();
    if (bad_row >= 0) {
      constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
      ForEach(machine_, n_, FillWith<T>{kNan, gradient});
      result.bad_row = bad_row;
      result.loss = result.pairs = std::numeric_limits<double>::quiet_NaN();
      return result;
    }
    gradient_ = New<double>();
    totals_ = New<pairwise_steps::Total>();
    machine_.Zero(gradient_, n_);
    machine_.Zero(totals_, n_);
    const int levels = plan_.Order();
    if (levels > 0) AddLevels(levels);
    const pairwise_steps::Total* const total = hvdrec::Sum(machine_, totals_, n_);
    ForEach(machine_, n_,
            pairwise_steps::Finish<T>{gradient_, total, options_.temperature, gradient});
    const pairwise_steps::Total sums = machine_.Read(total);
    result.pairs = sums.pairs;
    result.loss = sums.pairs > 0 ? sums.loss / sums.pairs : 0;
    return result;
  }

 private:
  template <typename V>
  V* New() {
    return machine_.template Allocate<V>(n_);
  }

  void AddLevels(int levels) {
    const bool smooth = options_.loss == PairLoss::kLogistic || options_.loss == PairLoss::kFocal;
    std::shared_ptr<const PairTable> table;
    if (smooth) table = GetPairTable(function_, kPanelTolerance<T>);  // like the CPU's
    PairwiseBinsTwin<Machine> bins(table.get(), n_, machine_);
    if (std::isfinite(options_.limit) || options_.hardest < 1) {
      PairwiseCutTwin<T, Machine> cut(options_, function_, weighted_, n_, machine_, &plan_, &bins,
                                      gradient_, totals_);
      if (!smooth) {
        cut.template Add<1>(levels, 1);
      } else if (table->order == 8) {
        cut.template Add<8>(levels, table->width);
      } else {
        cut.template Add<12>(levels, table->width);
      }
      return;
    }
    PairwiseLevel level = plan_.NewLevel();
    for (int l = 0; l < levels; ++l) {
      plan_.FillLevel(l, smooth ? table->width : 1.0, &level);
      if (!smooth) {
        AddSweep(level);
      } else if (table->order == 8) {
        AddBins<8>(level, &bins);
      } else {
        AddBins<12>(level, &bins);
      }
    }
  }

  // The effect of the panels of a level on each other, and of rows of small sides.
  template <int P>
  void AddBins(const PairwiseLevel& level, PairwiseBinsTwin<Machine>* bins) {
    if (bins->template Gather<P>(level)) {
      machine_.Launch(
          pairwise_steps::Act<P>{level.sides, bins->bins(), level.side_count, bins->table()},
          bins->count());
      ForEach(machine_, bins->count(),
              pairwise_steps::GiveBinLoss{level.order, level.sides, bins->bins(), level.side_count,
                                          totals_});
    }
    ForEach(machine_, n_,
            pairwise_steps::Evaluate<P>{level.lined, level.order, level.sides, bins->bins(),
                                        level.side_count, bins->bin_of(), 1 / bins->table().width,
                                        value(), gradient_, totals_});
  }

  void AddSweep(const PairwiseLevel& level) {
    const pairwise_steps::SweepSums sums{sweep_[0].For(machine_, n_), sweep_[1].For(machine_, n_)};
    machine_.Launch(pairwise_steps::SumSweep{level.lined, level.sides, level.side_count,
                                             function_.margin, sums},
                    level.side_count);
    ForEach(machine_, n_,
            pairwise_steps::Sweep{level.lined, level.order, level.sides, level.side_count, value(),
                                  sums, gradient_, totals_});
    ForEach(machine_, n_,
            pairwise_steps::Evaluate<1>{level.lined,
                                        level.order,
                                        level.sides,
                                        {},
                                        level.side_count,
                                        nullptr,
                                        1.0,
                                        value(),
                                        gradient_,
                                        totals_});
  }

  PairValue value() const { return {function_.loss, function_.margin, function_.gamma}; }

  const PairwiseOptions& options_;
  Machine& machine_;
  const int64_t n_;
  const bool weighted_;
  const PairFunction function_;
  PairwisePlanTwin<T, Machine> plan_;
  double* gradient_ = nullptr;
  pairwise_steps::Total* totals_ = nullptr;
  Room<double> sweep_[2];
};

template <typename T, typename Machine>
PairwiseResult RunPairwiseTwin(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                               Machine& machine, T* gradient) {
  CheckPairwise(options);
  const int64_t most = std::numeric_limits<int32_t>::max();
  if (rows.count > most) throw std::invalid_argument("more than 2^31 - 1 rows");
  if (options.hardest < 1 && rows.count > most / 2) {
    throw std::invalid_argument("more than 2^30 - 1 rows for a share of hardest pairs on a GPU");
  }
  return PairwiseTwin<T, Machine>(rows, options, machine).Sum(gradient);
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_TWIN_H_
