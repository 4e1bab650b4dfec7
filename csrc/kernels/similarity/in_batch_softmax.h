// Softmax cross entropy over in-batch negatives: Yi et al., "Sampling-Bias-Corrected Neural
// Modeling for Large Corpus Item Recommendations", RecSys 2019, equation 2; van den Oord et al.'s
// InfoNCE (2018, equation 4).

#ifndef HVDREC_KERNELS_SIMILARITY_IN_BATCH_SOFTMAX_H_
#define HVDREC_KERNELS_SIMILARITY_IN_BATCH_SOFTMAX_H_

#include <cstdint>

#include "kernels/base/host_device.h"
#include "kernels/base/parallel.h"

namespace hvdrec {

// Query i belongs to item i; the other items are its negatives, including those after `queries`.
// The last `owned` items are negatives of one query each.
template <typename T>
struct SoftmaxBatch {
  const T* query_values;    // [queries, dim]
  const T* item_values;     // [items, dim], items >= queries
  const int64_t* item_ids;  // or null; items with the id of item i are not negatives of i
  const T* weights;         // [queries], at least 0, or null for 1 everywhere
  int64_t queries;
  int64_t items;
  int64_t dim;
  double temperature;
  int64_t identified = -1;          // only this many items have ids, at least `queries`; -1: all
  const int64_t* owners = nullptr;  // [owned], the query that each of the last items belongs to
  int64_t owned = 0;

  HVDREC_HD int64_t shared() const { return items - owned; }
  HVDREC_HD int64_t with_ids() const { return identified < 0 ? shared() : identified; }
};

struct SoftmaxResult {
  double loss = 0;
  // The first row of queries, items and weights that isn't finite; -1 if there is none. If
  // there is one, loss and gradients are NaN.
  int64_t bad_query = -1;
  int64_t bad_item = -1;
  int64_t bad_weight = -1;
};

// The logit of a query's own item, in double, because its error is that of the loss if that is
// small.
template <typename T>
HVDREC_HD inline double OwnLogit(const SoftmaxBatch<T>& batch, int64_t query) {
  const T* const a = batch.query_values + query * batch.dim;
  const T* const b = batch.item_values + query * batch.dim;
  double sum = 0;
  for (int64_t d = 0; d < batch.dim; ++d) sum += static_cast<double>(a[d]) * b[d];
  return sum / batch.temperature;
}

// -sum_i w_i log softmax_j(q_i . v_j / temperature)_i / sum_i w_i; 0 if all weights are 0, and NaN,
// like the gradients, if a negative's logit overflows T.
//
// `query_gradient` [queries, dim] and `item_gradient` [items, dim] are the loss's derivatives;
// both null if they aren't needed. Time O(queries shared dim + owned dim). Memory besides: the
// products of up to 240 queries with all shared items, at most 64 MB or those of 48 queries.
template <typename T>
SoftmaxResult InBatchSoftmax(const SoftmaxBatch<T>& batch, const Parallel& parallel,
                             T* query_gradient, T* item_gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_IN_BATCH_SOFTMAX_H_
