// Multi-similarity loss: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep
// Metric Learning", CVPR 2019, equations 8 to 11.

#ifndef HVDREC_KERNELS_SIMILARITY_MULTI_SIMILARITY_H_
#define HVDREC_KERNELS_SIMILARITY_MULTI_SIMILARITY_H_

#include "kernels/base/parallel.h"
#include "kernels/similarity/similarity.h"

namespace hvdrec {

struct MultiSimilarityOptions {
  double alpha = 2;
  double beta = 50;
  double lambda = 1;
  // With mining an anchor a keeps the negatives with s > min_p s_ap - eps and the positives with
  // s < max_n s_an + eps, so none if it has no pairs of the other kind.
  bool mining = false;
  double eps = 0.1;
};

// The loss of anchor a with positives p and negatives n,
//
//   log(1 + sum_p exp(-alpha (s_ap - lambda))) / alpha
//   + log(1 + sum_n exp(beta (s_an - lambda))) / beta.
//
// The choice of mined pairs is treated as constant in the gradient.
//
// `gradient` [rows, dim] is dloss/dembeddings; null if it isn't needed. Time O(anchors rows
// dim), memory O(rows dim + threads).
template <typename T>
SimilarityResult MultiSimilarityLoss(const SimilarityBatch<T>& batch,
                                     const MultiSimilarityOptions& options,
                                     const Parallel& parallel, T* gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_MULTI_SIMILARITY_H_
