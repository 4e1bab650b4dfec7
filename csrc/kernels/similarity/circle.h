// Circle loss: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
// CVPR 2020, equations 4 to 6 over all pairs of a batch.

#ifndef HVDREC_KERNELS_SIMILARITY_CIRCLE_H_
#define HVDREC_KERNELS_SIMILARITY_CIRCLE_H_

#include "kernels/base/parallel.h"
#include "kernels/similarity/similarity.h"

namespace hvdrec {

struct CircleOptions {
  double margin = 0.25;
  double gamma = 32;
};

// The loss of anchor a with positives p and negatives n,
//
//   softplus(LSE_n g [s_an + m]_+ (s_an - m) + LSE_p -g [1 + m - s_ap]_+ (s_ap - 1 + m)),
//
// g = gamma, m = margin, LSE = log-sum-exp. An anchor without positives or without negatives
// gives 0. In the gradient the weights [.]_+ are treated as constants.
//
// `gradient` [rows, dim] is dloss/dembeddings; null if it isn't needed. Time O(anchors rows
// dim), memory O(rows dim + threads).
template <typename T>
SimilarityResult CircleLoss(const SimilarityBatch<T>& batch, const CircleOptions& options,
                            const Parallel& parallel, T* gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_CIRCLE_H_
