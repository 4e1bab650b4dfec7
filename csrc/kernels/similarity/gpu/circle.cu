#include "kernels/gpu/gpu_losses.h"
#include "kernels/gpu/gpu_machine.h"
#include "kernels/similarity/gpu/similarity_twin.h"

namespace hvdrec {

template <typename T>
SimilarityResult CircleLoss(const SimilarityBatch<T>& batch, const CircleOptions& options,
                            const Gpu& gpu, T* gradient) {
  CudaMachine machine(gpu);
  return RunSimilarityTwin(batch, similarity_steps::CircleForm<T>(options), machine, gradient);
}

template SimilarityResult CircleLoss(const SimilarityBatch<float>&, const CircleOptions&,
                                     const Gpu&, float*);
template SimilarityResult CircleLoss(const SimilarityBatch<double>&, const CircleOptions&,
                                     const Gpu&, double*);

}  // namespace hvdrec
