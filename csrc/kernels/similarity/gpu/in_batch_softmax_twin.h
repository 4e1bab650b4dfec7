// The in-batch softmax as computed on a GPU, on any machine that runs the steps.

#ifndef HVDREC_KERNELS_SIMILARITY_GPU_IN_BATCH_SOFTMAX_TWIN_H_
#define HVDREC_KERNELS_SIMILARITY_GPU_IN_BATCH_SOFTMAX_TWIN_H_

#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/base/logistic.h"
#include "kernels/gpu/bad_rows.h"
#include "kernels/gpu/tile_steps.h"
#include "kernels/similarity/in_batch_softmax.h"

namespace hvdrec {
namespace softmax_steps {

// The logits of the negatives.
template <typename T>
struct Logits {
  const int64_t* item_ids;  // null: all other items are negatives
  T scale;
  int64_t identified;
  const int64_t* owners;
  int64_t shared;

  HVDREC_HD bool IsNegative(int64_t query, int64_t item) const {
    if (item >= shared) return owners[item - shared] == query;
    if (item == query) return false;
    return item_ids == nullptr || item >= identified || item_ids[item] != item_ids[query];
  }
};

template <typename T>
struct AddLogits {
  using State = RunningExpSum<T>;

  Logits<T> logits;

  HVDREC_HD void Clear(State* state) const { state->Clear(); }
  HVDREC_HD void Add(State* state, int64_t query, int64_t item, T s) const {
    if (logits.IsNegative(query, item)) state->Add(s * logits.scale);
  }
  HVDREC_HD void Merge(State* state, const State& other) const { state->Merge(other); }
};

struct WeightedSum {
  double loss = 0, weight = 0;
  HVDREC_HD void Add(const WeightedSum& other) {
    loss += other.loss;
    weight += other.weight;
  }
};

template <typename T>
HVDREC_HD inline double Weight(const T* weights, int64_t query) {
  return weights == nullptr ? 1.0 : static_cast<double>(weights[query]);
}

// A negative's share in the gradient is exp(its logit - shift) * factor.
template <typename T>
struct Shares {
  T shift, factor, own;
};

template <typename T>
struct FinishQuery {
  SoftmaxBatch<T> batch;
  AddLogits<T> visit;
  const RunningExpSum<T>* states;
  int64_t parts;
  Shares<T>* shares;  // by query
  WeightedSum* sums;

  HVDREC_HD void operator()(int64_t query) const {
    const double own = OwnLogit(batch, query);
    const double behind = MergeParts(visit, states, query, parts).Log() - own;
    const double loss = Softplus(behind), weight = Weight(batch.weights, query);
    const T shift = static_cast<T>(own + loss);
    shares[query] = {shift, static_cast<T>(weight * exp(shift - (own + loss))),
                     static_cast<T>(-weight * Sigmoid(behind))};
    sums[query] = {weight * loss, weight};
  }
};

// The derivative of the loss by a pair's product.
template <typename T>
struct LogitShare {
  Logits<T> logits;
  const Shares<T>* shares;
  T factor;  // 1 / (sum of weights * temperature)

  HVDREC_HD T Of(int64_t query, int64_t item, T s) const {
    const Shares<T> share = shares[query];
    if (item == query) return share.own * factor;
    if (!logits.IsNegative(query, item)) return 0;
    return std::exp(s * logits.scale - share.shift) * (share.factor * factor);
  }
};

template <typename T>
struct QueryShare : LogitShare<T> {
  HVDREC_HD T operator()(int64_t query, int64_t item, T s) const {
    return this->Of(query, item, s);
  }
};

template <typename T>
struct ItemShare : LogitShare<T> {
  HVDREC_HD T operator()(int64_t item, int64_t query, T s) const {
    return this->Of(query, item, s);
  }
};

}  // namespace softmax_steps

// See InBatchSoftmax in kernels/gpu/gpu_losses.h.
template <typename T, typename Machine>
SoftmaxResult RunInBatchSoftmaxTwin(const SoftmaxBatch<T>& batch, Machine& machine,
                                    T* query_gradient, T* item_gradient) {
  namespace steps = softmax_steps;
  SoftmaxResult result;
  // Without queries their gradient is null too, although the items' is wanted.
  const auto fill = [&](T value) {
    const auto all = [&](int64_t rows, T* gradient) {
      if (gradient != nullptr) ForEach(machine, rows * batch.dim, FillWith<T>{value, gradient});
    };
    all(batch.queries, query_gradient);
    all(batch.items, item_gradient);
  };
  if (batch.items > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("more than 2^31 - 1 items");
  }
  result.bad_query = FirstBadRow(machine, batch.query_values, batch.queries, batch.dim);
  result.bad_item = FirstBadRow(machine, batch.item_values, batch.items, batch.dim);
  if (batch.weights != nullptr) {
    result.bad_weight = FirstBadRow(machine, batch.weights, batch.queries, 1);
  }
  if (result.bad_query >= 0 || result.bad_item >= 0 || result.bad_weight >= 0) {
    result.loss = std::numeric_limits<double>::quiet_NaN();
    fill(std::numeric_limits<T>::quiet_NaN());
    return result;
  }
  // With a single item there is nothing to distinguish.
  if (batch.queries == 0 || batch.items == 1) {
    fill(0);
    return result;
  }
  const steps::Logits<T> logits{batch.item_ids, static_cast<T>(1 / batch.temperature),
                                batch.with_ids(), batch.owners, batch.shared()};
  const TileSets<T> sets{batch.query_values, batch.item_values, batch.queries, batch.items,
                         batch.dim};
  const steps::AddLogits<T> visit{logits};
  const auto* const states = ReduceTiles(machine, sets, visit);
  auto* const shares = machine.template Allocate<steps::Shares<T>>(batch.queries);
  auto* const sums = machine.template Allocate<steps::WeightedSum>(batch.queries);
  ForEach(machine, batch.queries,
          steps::FinishQuery<T>{batch, visit, states, sets.parts(), shares, sums});
  const steps::WeightedSum sum = machine.Read(Sum(machine, sums, batch.queries));
  if (sum.weight == 0) {
    fill(0);
    return result;
  }
  result.loss = sum.loss / sum.weight;
  // The sum of a query with a product that overflows is infinite or NaN.
  if (!std::isfinite(result.loss)) {
    result.loss = std::numeric_limits<double>::quiet_NaN();
    fill(std::numeric_limits<T>::quiet_NaN());
    return result;
  }
  if (query_gradient == nullptr) return result;
  const steps::LogitShare<T> share{logits, shares,
                                   static_cast<T>(1 / (sum.weight * batch.temperature))};
  ApplyTiles(machine, sets, steps::QueryShare<T>{share}, query_gradient);
  const TileSets<T> turned{batch.item_values, batch.query_values, batch.items, batch.queries,
                           batch.dim};
  ApplyTiles(machine, turned, steps::ItemShare<T>{share}, item_gradient);
  return result;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_GPU_IN_BATCH_SOFTMAX_TWIN_H_
