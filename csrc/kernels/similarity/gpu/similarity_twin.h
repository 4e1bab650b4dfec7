// Circle and multi-similarity loss as computed on a GPU, on any machine that runs the steps.

#ifndef HVDREC_KERNELS_SIMILARITY_GPU_SIMILARITY_TWIN_H_
#define HVDREC_KERNELS_SIMILARITY_GPU_SIMILARITY_TWIN_H_

#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/base/logistic.h"
#include "kernels/gpu/bad_rows.h"
#include "kernels/gpu/tile_steps.h"
#include "kernels/similarity/circle.h"
#include "kernels/similarity/multi_similarity.h"

namespace hvdrec {
namespace similarity_steps {

// The results of an anchor's sums: its loss, and the summand of a pair's exponent for the pair's
// share in the gradient, without the slope and the mean over rows.
template <typename T>
struct AnchorResult {
  double loss;
  T positive_offset, negative_offset;

  HVDREC_HD void Clear() {
    loss = 0;
    positive_offset = negative_offset = static_cast<T>(-INFINITY);
  }
};

// As CircleForm in kernels/similarity/circle.cc, one pair at a time.
template <typename T>
struct CircleForm {
  T margin, gamma;

  explicit CircleForm(const CircleOptions& options)
      : margin(static_cast<T>(options.margin)), gamma(static_cast<T>(options.gamma)) {}

  // The detached weight of a pair.
  HVDREC_HD T Weight(bool positive, T s) const {
    const T weight = positive ? T(1) + margin - s : s + margin;
    return weight > 0 ? weight : T(0);
  }
  HVDREC_HD T Exponent(bool positive, T s) const {
    return Weight(positive, s) * (positive ? T(1) - margin - s : s - margin) * gamma;
  }
  HVDREC_HD T Slope(bool positive, T s) const {
    return Weight(positive, s) * (positive ? -gamma : gamma);
  }
  HVDREC_HD void Finish(const RunningExpSum<T>& positives, const RunningExpSum<T>& negatives,
                        AnchorResult<T>* result) const {
    if (positives.empty() || negatives.empty()) return;
    const double p = positives.Log(), n = negatives.Log();
    const double log_sigmoid = -Softplus(-p - n);
    result->loss = Softplus(p + n);
    result->positive_offset = static_cast<T>(log_sigmoid - p);
    result->negative_offset = static_cast<T>(log_sigmoid - n);
  }

  bool mining() const { return false; }
  T eps() const { return 0; }
};

// As MultiSimilarityForm in kernels/similarity/multi_similarity.cc, one pair at a time.
template <typename T>
struct MultiSimilarityForm {
  T alpha, beta, lambda;
  double wide_alpha, wide_beta;
  bool mined;
  T epsilon;

  explicit MultiSimilarityForm(const MultiSimilarityOptions& options)
      : alpha(static_cast<T>(options.alpha)),
        beta(static_cast<T>(options.beta)),
        lambda(static_cast<T>(options.lambda)),
        wide_alpha(options.alpha),
        wide_beta(options.beta),
        mined(options.mining),
        epsilon(static_cast<T>(options.eps)) {}

  HVDREC_HD T Exponent(bool positive, T s) const {
    return (s - lambda) * (positive ? -alpha : beta);
  }
  HVDREC_HD T Slope(bool positive, T) const { return positive ? T(-1) : T(1); }
  HVDREC_HD void Finish(const RunningExpSum<T>& positives, const RunningExpSum<T>& negatives,
                        AnchorResult<T>* result) const {
    if (!positives.empty()) {
      const double p = Softplus(positives.Log());
      result->loss += p / wide_alpha;
      result->positive_offset = static_cast<T>(-p);
    }
    if (!negatives.empty()) {
      const double n = Softplus(negatives.Log());
      result->loss += n / wide_beta;
      result->negative_offset = static_cast<T>(-n);
    }
  }

  bool mining() const { return mined; }
  T eps() const { return epsilon; }
};

// Which rows are positives of each other.
struct Classes {
  const int64_t* labels;
  const int64_t* sessions;

  HVDREC_HD bool Same(int64_t a, int64_t b) const {
    return labels[a] == labels[b] && (sessions == nullptr || sessions[a] == sessions[b]);
  }
};

// Each anchor's least similarity with a positive and greatest with a negative.
template <typename T>
struct FindHardest {
  struct State {
    T positive, negative;
  };

  Classes classes;
  int64_t first_anchor;

  HVDREC_HD void Clear(State* state) const {
    state->positive = static_cast<T>(INFINITY);
    state->negative = static_cast<T>(-INFINITY);
  }
  HVDREC_HD void Add(State* state, int64_t anchor, int64_t column, T s) const {
    const int64_t row = first_anchor + anchor;
    if (row == column) return;
    if (classes.Same(row, column)) {
      if (s < state->positive) state->positive = s;
    } else {
      if (s > state->negative) state->negative = s;
    }
  }
  HVDREC_HD void Merge(State* state, const State& other) const {
    if (other.positive < state->positive) state->positive = other.positive;
    if (other.negative > state->negative) state->negative = other.negative;
  }
};

// The conditions of an anchor for a mined pair.
template <typename T>
struct Mining {
  const T* least_negative;     // by anchor; null: all pairs count
  const T* greatest_positive;  // by anchor

  HVDREC_HD bool Counts(int64_t anchor, bool positive, T s) const {
    if (least_negative == nullptr) return true;
    return positive ? s < greatest_positive[anchor] : s > least_negative[anchor];
  }
};

template <typename T>
struct SetMining {
  FindHardest<T> visit;
  const typename FindHardest<T>::State* states;
  int64_t parts;
  T eps;
  T* least_negative;
  T* greatest_positive;

  HVDREC_HD void operator()(int64_t anchor) const {
    const auto hardest = MergeParts(visit, states, anchor, parts);
    least_negative[anchor] = hardest.positive - eps;
    greatest_positive[anchor] = hardest.negative + eps;
  }
};

template <typename T, typename Form>
struct AddExponentials {
  struct State {
    RunningExpSum<T> positive, negative;
  };

  Form form;
  Classes classes;
  Mining<T> mining;
  int64_t first_anchor;

  HVDREC_HD void Clear(State* state) const {
    state->positive.Clear();
    state->negative.Clear();
  }
  HVDREC_HD void Add(State* state, int64_t anchor, int64_t column, T s) const {
    const int64_t row = first_anchor + anchor;
    if (row == column) return;
    const bool positive = classes.Same(row, column);
    if (!mining.Counts(anchor, positive, s)) return;
    // Not through a reference to either, which would keep the thread's state out of registers.
    if (positive) {
      state->positive.Add(form.Exponent(true, s));
    } else {
      state->negative.Add(form.Exponent(false, s));
    }
  }
  HVDREC_HD void Merge(State* state, const State& other) const {
    state->positive.Merge(other.positive);
    state->negative.Merge(other.negative);
  }
};

struct LossSum {
  double value = 0;
  HVDREC_HD void Add(const LossSum& other) { value += other.value; }
};

template <typename T, typename Form>
struct FinishAnchor {
  AddExponentials<T, Form> visit;
  const typename AddExponentials<T, Form>::State* states;
  int64_t parts;
  AnchorResult<T>* results;
  LossSum* losses;

  HVDREC_HD void operator()(int64_t anchor) const {
    const auto sums = MergeParts(visit, states, anchor, parts);
    AnchorResult<T> result;
    result.Clear();
    visit.form.Finish(sums.positive, sums.negative, &result);
    results[anchor] = result;
    losses[anchor].value = result.loss;
  }
};

// A pair's share in the gradient, of the row as anchor and of the column as anchor.
template <typename T, typename Form>
struct PairShare {
  Form form;
  Classes classes;
  Mining<T> mining;
  const AnchorResult<T>* results;
  int64_t first_anchor, anchors;
  T mean;

  HVDREC_HD T operator()(int64_t row, int64_t column, T s) const {
    if (row == column) return 0;
    const bool positive = classes.Same(row, column);
    const T exponent = form.Exponent(positive, s);
    const T share = Of(row - first_anchor, positive, s, exponent) +
                    Of(column - first_anchor, positive, s, exponent);
    return share * form.Slope(positive, s) * mean;
  }

  HVDREC_HD T Of(int64_t anchor, bool positive, T s, T exponent) const {
    if (anchor < 0 || anchor >= anchors || !mining.Counts(anchor, positive, s)) return 0;
    const AnchorResult<T>& result = results[anchor];
    return std::exp(exponent + (positive ? result.positive_offset : result.negative_offset));
  }
};

}  // namespace similarity_steps

// See CircleLoss and MultiSimilarityLoss in kernels/gpu/gpu_losses.h.
template <typename T, typename Form, typename Machine>
SimilarityResult RunSimilarityTwin(const SimilarityBatch<T>& batch, const Form& form,
                                   Machine& machine, T* gradient) {
  namespace steps = similarity_steps;
  SimilarityResult result;
  const int64_t size = batch.rows * batch.dim;
  const auto fill = [&](T value) {
    if (gradient != nullptr) ForEach(machine, size, FillWith<T>{value, gradient});
  };
  if (batch.rows > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("more than 2^31 - 1 rows");
  }
  result.bad_row = FirstBadRow(machine, batch.embeddings, batch.rows, batch.dim);
  if (result.bad_row >= 0) {
    result.loss = std::numeric_limits<double>::quiet_NaN();
    fill(std::numeric_limits<T>::quiet_NaN());
    return result;
  }
  if (batch.rows < 2 || batch.anchors == 0) {
    fill(0);
    return result;
  }
  const steps::Classes classes{batch.labels, batch.sessions};
  const TileSets<T> sets{batch.embeddings + batch.first_anchor * batch.dim, batch.embeddings,
                         batch.anchors, batch.rows, batch.dim};
  steps::Mining<T> mining{nullptr, nullptr};
  if (form.mining()) {
    const steps::FindHardest<T> visit{classes, batch.first_anchor};
    const auto* const states = ReduceTiles(machine, sets, visit);
    T* const least_negative = machine.template Allocate<T>(batch.anchors);
    T* const greatest_positive = machine.template Allocate<T>(batch.anchors);
    ForEach(machine, batch.anchors,
            steps::SetMining<T>{visit, states, sets.parts(), form.eps(), least_negative,
                                greatest_positive});
    mining = {least_negative, greatest_positive};
  }
  const steps::AddExponentials<T, Form> visit{form, classes, mining, batch.first_anchor};
  const auto* const states = ReduceTiles(machine, sets, visit);
  auto* const results = machine.template Allocate<steps::AnchorResult<T>>(batch.anchors);
  auto* const losses = machine.template Allocate<steps::LossSum>(batch.anchors);
  ForEach(machine, batch.anchors,
          steps::FinishAnchor<T, Form>{visit, states, sets.parts(), results, losses});
  const auto* const loss = Sum(machine, losses, batch.anchors);
  if (gradient != nullptr) {
    const TileSets<T> all{batch.embeddings, batch.embeddings, batch.rows, batch.rows, batch.dim};
    const T mean = T(1) / static_cast<T>(batch.rows);
    ApplyTiles(machine, all,
               steps::PairShare<T, Form>{form, classes, mining, results, batch.first_anchor,
                                         batch.anchors, mean},
               gradient);
  }
  result.loss = machine.Read(loss).value / static_cast<double>(batch.rows);
  return result;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_GPU_SIMILARITY_TWIN_H_
