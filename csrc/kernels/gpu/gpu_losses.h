// The CUDA versions of the losses: the CPU's functions with a GPU instead of threads.
//
// All pointers are to the GPU's memory. The same input gives the same bits on the same GPU; no sum
// depends on the order in which threads run. A call returns when the loss is known; its other
// results are available to later work on the stream. Throws std::runtime_error if CUDA reports an
// error, and std::invalid_argument for invalid options.

#ifndef HVDREC_KERNELS_GPU_GPU_LOSSES_H_
#define HVDREC_KERNELS_GPU_GPU_LOSSES_H_

#include "kernels/gpu/gpu.h"
#include "kernels/pairwise/pairwise.h"
#include "kernels/similarity/circle.h"
#include "kernels/similarity/in_batch_softmax.h"
#include "kernels/similarity/multi_similarity.h"

namespace hvdrec {

// Like kernels/pairwise/pairwise.h, with the same orders of time and memory: small groups of rows
// pair by pair, the hardest pairs by bisection over all levels at once. All in double. With
// `hardest` at most 2^30 - 1 rows.
template <typename T>
PairwiseResult Pairwise(const PairwiseRows<T>& rows, const PairwiseOptions& options, const Gpu& gpu,
                        T* gradient);

// Like kernels/similarity/circle.h and kernels/similarity/multi_similarity.h, products and
// exponentials in T. Time O(anchors rows dim) and O(rows^2 dim) for the gradient, memory O(rows
// dim); of a gradient no more than 2^16 dim numbers of scratch.
template <typename T>
SimilarityResult CircleLoss(const SimilarityBatch<T>& batch, const CircleOptions& options,
                            const Gpu& gpu, T* gradient);
template <typename T>
SimilarityResult MultiSimilarityLoss(const SimilarityBatch<T>& batch,
                                     const MultiSimilarityOptions& options, const Gpu& gpu,
                                     T* gradient);

// Like kernels/similarity/in_batch_softmax.h. Time O(queries items dim), memory O((queries +
// items) dim); of each gradient no more than 2^16 dim numbers of scratch.
template <typename T>
SoftmaxResult InBatchSoftmax(const SoftmaxBatch<T>& batch, const Gpu& gpu, T* query_gradient,
                             T* item_gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_GPU_LOSSES_H_
