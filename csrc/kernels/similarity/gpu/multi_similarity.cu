#include "kernels/gpu/gpu_losses.h"
#include "kernels/gpu/gpu_machine.h"
#include "kernels/similarity/gpu/similarity_twin.h"

namespace hvdrec {

template <typename T>
SimilarityResult MultiSimilarityLoss(const SimilarityBatch<T>& batch,
                                     const MultiSimilarityOptions& options, const Gpu& gpu,
                                     T* gradient) {
  CudaMachine machine(gpu);
  return RunSimilarityTwin(batch, similarity_steps::MultiSimilarityForm<T>(options), machine,
                           gradient);
}

template SimilarityResult MultiSimilarityLoss(const SimilarityBatch<float>&,
                                              const MultiSimilarityOptions&, const Gpu&, float*);
template SimilarityResult MultiSimilarityLoss(const SimilarityBatch<double>&,
                                              const MultiSimilarityOptions&, const Gpu&, double*);

}  // namespace hvdrec
