#include "kernels/pairwise/pairwise.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/base/scratch.h"
#include "kernels/pairwise/hardest.h"
#include "kernels/pairwise/masked.h"
#include "kernels/pairwise/panels.h"
#include "kernels/pairwise/plan.h"
#include "kernels/pairwise/sweep.h"
#include "kernels/pairwise/table.h"
#include "kernels/pairwise/tiles.h"

namespace hvdrec {
namespace {

constexpr int64_t kChunk = 1 << 14;
// Groups up to this size are computed pair by pair: above it panels are faster
// (docs/performance.md). A pair of the focal loss takes several times as long as one of the
// logistic loss.
constexpr int64_t kLeafRows = 128;
constexpr int64_t kFocalLeafRows = 48;
// Splits from this size on use several threads inside; smaller ones run in parallel.
constexpr int64_t kLargeSplit = 1 << 14;
constexpr int64_t kBatchRows = 1 << 12;
// In a masked split, up to this many pairs per row are faster one by one than by panels.
constexpr int64_t kFewPairs = 24;

bool IsSmooth(PairLoss loss) { return loss == PairLoss::kLogistic || loss == PairLoss::kFocal; }

// The rows of a plan's level, in contiguous arrays.
struct LevelRows {
  Scratch<double> scores, weights, gradient;
};

struct Total {
  double loss = 0;
  double pairs = 0;

  void operator+=(const Total& other) {
    loss += other.loss;
    pairs += other.pairs;
  }
};

template <typename T>
class Run {
 public:
  Run(const PairwiseRows<T>& rows, const PairwiseOptions& options, const Parallel& parallel)
      : rows_(rows),
        options_(options),
        parallel_(parallel),
        function_{options.loss, options.margin,
                  options.loss == PairLoss::kFocal ? options.gamma : 0.0},
        tolerance_(kPanelTolerance<T>) {}

  PairwiseResult Sum(T* gradient) {
    PairwiseResult result;
    const int64_t n = rows_.count;
    result.bad_row = Prepare();
    if (result.bad_row >= 0) {
      std::fill(gradient, gradient + n, std::numeric_limits<T>::quiet_NaN());
      result.loss = result.pairs = std::numeric_limits<double>::quiet_NaN();
      return result;
    }
    const bool cut = std::isfinite(options_.limit) || options_.hardest < 1;
    const Total total = cut ? SumMasked() : SumAll();
    NeedGradient();
    const double mean = total.pairs > 0 ? 1 / total.pairs : 0;
    result.pairs = total.pairs;
    result.loss = total.loss * mean;
    const double scale = mean / options_.temperature;
    ForChunks(parallel_, n, kChunk, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto row = static_cast<size_t>(i);
        const size_t at = places_.empty() ? row : static_cast<size_t>(places_[row]);
        gradient[i] = static_cast<T>(gradient_[at] * scale);
      }
    });
    return result;
  }

 private:
  // Fills scores_; the first row with a number that isn't finite, or -1.
  int64_t Prepare() {
    const int64_t n = rows_.count;
    scores_.resize(static_cast<size_t>(n));
    std::vector<int64_t> bad(static_cast<size_t>(ChunkCount(n, kChunk)), -1);
    ForChunks(parallel_, n, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        double& score = scores_[static_cast<size_t>(i)];
        score = rows_.scores[i] / options_.temperature - options_.label_scale * rows_.labels[i];
        const bool fine = std::isfinite(score) && std::isfinite(rows_.labels[i]) &&
                          (rows_.weights == nullptr || std::isfinite(rows_.weights[i]));
        if (!fine && bad[static_cast<size_t>(chunk)] < 0) bad[static_cast<size_t>(chunk)] = i;
      }
    });
    for (const int64_t row : bad) {
      if (row >= 0) return row;
    }
    return -1;
  }

  LevelRows Line(const PairLevel& level) const {
    LevelRows lined;
    const auto n = static_cast<size_t>(level.size());
    lined.scores.resize(n);
    if (rows_.weights != nullptr) lined.weights.resize(n);
    lined.gradient.resize(n);
    ForPlaces(level, [&](size_t at, size_t row) {
      lined.scores[at] = scores_[row];
      if (rows_.weights != nullptr) lined.weights[at] = rows_.weights[row];
      lined.gradient[at] = 0;
    });
    return lined;
  }

  // Calls body(place, row) for all of a level, in the order that it is in.
  template <typename Body>
  void ForPlaces(const PairLevel& level, const Body& body) const {
    const bool by_row = !level.places.empty();
    const int32_t* const other = by_row ? level.places.data() : level.rows.data();
    ForChunks(parallel_, level.size(), kChunk, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const auto here = static_cast<size_t>(k), there = static_cast<size_t>(other[k]);
        by_row ? body(there, here) : body(here, there);
      }
    });
  }

  // The gradient of the sums so far: by row, or with `places_` by position.
  void AddGradient(PairLevel* level, LevelRows* lined) {
    if (!level->places.empty() && gradient_.empty()) {
      places_.swap(level->places);
      gradient_.swap(lined->gradient);
      return;
    }
    NeedGradient();
    ForPlaces(*level, [&](size_t at, size_t row) { gradient_[row] += lined->gradient[at]; });
  }

  void NeedGradient() {
    if (gradient_.empty()) gradient_.assign(static_cast<size_t>(rows_.count), 0.0);
  }

  static PairSide Side(LevelRows* lined, int64_t begin, int64_t end) {
    return {lined->scores.data() + begin,
            lined->weights.empty() ? nullptr : lined->weights.data() + begin,
            lined->gradient.data() + begin, end - begin};
  }

  // Without a cut.
  Total SumAll() {
    PairPlanOptions options;
    if (IsSmooth(options_.loss)) {
      options.leaf_size = options_.loss == PairLoss::kFocal ? kFocalLeafRows : kLeafRows;
      if (rows_.count > options.leaf_size) {
        table_ = GetPairTable(function_, tolerance_);
        options.panel_width = table_->width;
      }
    }
    PairPlan plan =
        PlanPairs(scores_.data(), rows_.labels, rows_.sessions, rows_.count, options, parallel_);
    Total total = SumLeaves(plan);
    for (PairLevel& level : plan.levels) {
      LevelRows lined = Line(level);
      total += SumSplits(level.splits, &lined);
      AddGradient(&level, &lined);
    }
    return total;
  }

  // Calls body(item, parallel) for items of `size(item)` rows: large ones one by one, the others
  // in parallel.
  template <typename Size, typename Body>
  void ForItems(int64_t count, const Size& size, const Body& body) const {
    std::vector<int64_t> batches{0};
    int64_t rows = 0;
    for (int64_t item = 0; item < count; ++item) {
      rows += size(item);
      if (rows >= kBatchRows || item + 1 == count) {
        batches.push_back(item + 1);
        rows = 0;
      }
    }
    parallel_.Run(static_cast<int64_t>(batches.size()) - 1, [&](int64_t b) {
      for (int64_t item = batches[static_cast<size_t>(b)];
           item < batches[static_cast<size_t>(b + 1)]; ++item) {
        if (size(item) < kLargeSplit) body(item, Serial());
      }
    });
    for (int64_t item = 0; item < count; ++item) {
      if (size(item) >= kLargeSplit) body(item, parallel_);
    }
  }

  Total SumSplits(const std::vector<PairSplit>& splits, LevelRows* lined) const {
    std::vector<Total> totals(splits.size());
    const auto size = [&](int64_t s) {
      return splits[static_cast<size_t>(s)].end - splits[static_cast<size_t>(s)].begin;
    };
    ForItems(static_cast<int64_t>(splits.size()), size, [&](int64_t s, const Parallel& parallel) {
      const PairSplit& split = splits[static_cast<size_t>(s)];
      const PairSide lower = Side(lined, split.begin, split.middle);
      const PairSide upper = Side(lined, split.middle, split.end);
      int64_t weighing = upper.count;
      if (upper.weights != nullptr) {
        weighing -= std::count(upper.weights, upper.weights + upper.count, 0.0);
      }
      totals[static_cast<size_t>(s)] = {
          SumSplit(upper, lower, parallel),
          static_cast<double>(weighing) * static_cast<double>(lower.count)};
    });
    Total total;
    for (const Total& part : totals) total += part;
    return total;
  }

  double SumSplit(const PairSide& upper, const PairSide& lower, const Parallel& parallel) const {
    switch (options_.loss) {
      case PairLoss::kLogistic:
      case PairLoss::kFocal:
        return SumOverPanels(function_, *table_, upper, lower, parallel);
      case PairLoss::kHinge:
        return SweepHinge(options_.margin, 1, upper, lower);
      case PairLoss::kSquaredHinge:
        return SweepHinge(options_.margin, 2, upper, lower);
      case PairLoss::kSquare:
        return SumSquares(options_.margin, upper, lower);
    }
    throw std::logic_error("unknown loss");
  }

  Total SumLeaves(const PairPlan& plan) {
    const std::vector<PairLeaf>& leaves = plan.leaves;
    if (!leaves.empty()) NeedGradient();
    std::vector<Total> totals(leaves.size());
    const auto size = [&](int64_t l) {
      return leaves[static_cast<size_t>(l)].end - leaves[static_cast<size_t>(l)].begin;
    };
    ForItems(static_cast<int64_t>(leaves.size()), size, [&](int64_t l, const Parallel&) {
      const int32_t* const places =
          &plan.leaf_rows[static_cast<size_t>(leaves[static_cast<size_t>(l)].begin)];
      totals[static_cast<size_t>(l)] = SumLeaf(places, size(l));
    });
    Total total;
    for (const Total& part : totals) total += part;
    return total;
  }

  Total SumLeaf(const int32_t* places, int64_t count) {
    double scores[kLeafRows] = {}, weights[kLeafRows] = {}, gradient[kLeafRows] = {};
    T labels[kLeafRows] = {};
    for (int64_t k = 0; k < count; ++k) {
      scores[k] = scores_[static_cast<size_t>(places[k])];
      labels[k] = rows_.labels[places[k]];
      weights[k] = rows_.weights == nullptr ? 1.0 : rows_.weights[places[k]];
    }
    const TileSum sum = SumOverLeaf(function_, scores, labels, weights, gradient, count);
    for (int64_t k = 0; k < count; ++k) gradient_[static_cast<size_t>(places[k])] += gradient[k];
    return {sum.loss, static_cast<double>(sum.pairs)};
  }

  // With `limit` or `hardest`.
  Total SumMasked() {
    PairPlan plan =
        PlanPairs(scores_.data(), rows_.labels, rows_.sessions, rows_.count, {}, parallel_);
    std::vector<LevelRows> lined;
    std::vector<PairCut> cuts;
    for (const PairLevel& level : plan.levels) {
      lined.push_back(Line(level));
      for (const PairSplit& split : level.splits) {
        cuts.push_back({Side(&lined.back(), split.middle, split.end),
                        Side(&lined.back(), split.begin, split.middle),
                        std::vector<PairRun>(static_cast<size_t>(split.end - split.middle))});
      }
    }
    if (std::isfinite(options_.limit)) CutAtLead(options_.limit, &cuts, parallel_);
    Total total;
    double share = 0;
    if (options_.hardest < 1) {
      const HardestPairs hardest = KeepHardest(
          function_, ShareOfPairs(CountPairs(cuts, false), options_.hardest), &cuts, parallel_);
      total.pairs = static_cast<double>(hardest.kept);
      share = hardest.share;
    } else {
      total.pairs = static_cast<double>(CountPairs(cuts, true));
    }
    total.loss = SumKept(cuts, share);
    for (size_t l = 0; l < plan.levels.size(); ++l) AddGradient(&plan.levels[l], &lined[l]);
    return total;
  }

  double SumKept(const std::vector<PairCut>& cuts, double share) {
    if (IsSmooth(options_.loss)) table_ = GetPairTable(function_, tolerance_);
    std::vector<double> losses(cuts.size());
    const auto size = [&](int64_t c) {
      return cuts[static_cast<size_t>(c)].upper.count + cuts[static_cast<size_t>(c)].lower.count;
    };
    ForItems(static_cast<int64_t>(cuts.size()), size, [&](int64_t c, const Parallel& parallel) {
      losses[static_cast<size_t>(c)] = SumCut(cuts[static_cast<size_t>(c)], share, parallel);
    });
    double loss = 0;
    for (const double part : losses) loss += part;
    return loss;
  }

  double SumCut(const PairCut& cut, double share, const Parallel& parallel) const {
    if (options_.loss == PairLoss::kHinge) {
      return SweepHingeRuns(options_.margin, cut.upper, cut.lower, cut.runs, share);
    }
    int64_t pairs = 0;
    for (const PairRun& run : cut.runs) pairs += cut.lower.count - run.some;
    if (pairs <= kFewPairs * (cut.upper.count + cut.lower.count)) {
      return SumOverRuns(function_, cut.upper, cut.lower, cut.runs, share, parallel);
    }
    return SumOverMaskedPanels(function_, *table_, cut.upper, cut.lower, cut.runs, share, parallel);
  }

  const PairwiseRows<T>& rows_;
  const PairwiseOptions& options_;
  const Parallel& parallel_;
  const PairFunction function_;
  const double tolerance_;
  std::shared_ptr<const PairTable> table_;
  Scratch<double> scores_, gradient_;
  Scratch<int32_t> places_;
};

}  // namespace

int64_t ShareOfPairs(int64_t pairs, double share) {
  if (pairs < (1 << 24)) {
    return std::llrint(static_cast<float>(pairs) * static_cast<float>(share));
  }
  return std::llrint(static_cast<double>(pairs) * share);
}

void CheckPairwise(const PairwiseOptions& o) {
  if (!(o.temperature > 0 && std::isfinite(o.temperature))) {
    throw std::invalid_argument("temperature must be a number above 0");
  }
  if (!std::isfinite(o.margin) || !std::isfinite(o.label_scale)) {
    throw std::invalid_argument("margin must be a number");
  }
  if (!(o.gamma >= 0 && o.gamma <= 32)) {
    throw std::invalid_argument("gamma must be a number from 0 to 32");
  }
  if (!(o.hardest > 0 && o.hardest <= 1)) {
    throw std::invalid_argument("the share of hardest pairs must be above 0 and at most 1");
  }
  if (std::isnan(o.limit)) throw std::invalid_argument("limit must be a number");
  if (!IsSmooth(o.loss) && std::isfinite(o.limit)) {
    throw std::invalid_argument("limit applies only to the logistic and the focal loss");
  }
  if (o.hardest < 1 && (o.loss == PairLoss::kSquare || o.loss == PairLoss::kSquaredHinge)) {
    throw std::invalid_argument("the square losses don't support a share of hardest pairs");
  }
}

template <typename T>
PairwiseResult Pairwise(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                        const Parallel& parallel, T* gradient) {
  CheckPairwise(options);
  if (rows.count > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("more than 2^31 - 1 rows");
  }
  return Run<T>(rows, options, parallel).Sum(gradient);
}

template PairwiseResult Pairwise<float>(const PairwiseRows<float>&, const PairwiseOptions&,
                                        const Parallel&, float*);
template PairwiseResult Pairwise<double>(const PairwiseRows<double>&, const PairwiseOptions&,
                                         const Parallel&, double*);

}  // namespace hvdrec
