// The CUDA twins of the losses: the CPU's functions with the GPU in place of the threads.
//
// All pointers are to the GPU's memory. The same input gives the same bits on the same GPU; no sum
// is left to the order in which threads come. A call returns when the loss is known; what it writes
// is there for what follows on the stream. Throws std::runtime_error where CUDA reports an error,
// and std::invalid_argument for options that have no CUDA form.

#ifndef HVDREC_KERNELS_GPU_LOSSES_H_
#define HVDREC_KERNELS_GPU_LOSSES_H_

#include "kernels/gpu.h"
#include "kernels/pairwise.h"

namespace hvdrec {

// As kernels/pairwise.h has it, without `limit` and `hardest`. Logistic and focal: O(n log L) by
// panels, groups of few rows pair by pair. Hinge, squared hinge and square: all pairs one by one,
// exact, O(n) memory. All in double.
template <typename T>
PairwiseResult Pairwise(const PairwiseRows<T>& rows, const PairwiseOptions& options, const Gpu& gpu,
                        T* gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_LOSSES_H_
