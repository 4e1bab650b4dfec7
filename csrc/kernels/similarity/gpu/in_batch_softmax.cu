#include "kernels/gpu/gpu_losses.h"
#include "kernels/gpu/gpu_machine.h"
#include "kernels/similarity/gpu/in_batch_softmax_twin.h"

namespace hvdrec {

template <typename T>
SoftmaxResult InBatchSoftmax(const SoftmaxBatch<T>& batch, const Gpu& gpu, T* query_gradient,
                             T* item_gradient) {
  CudaMachine machine(gpu);
  return RunInBatchSoftmaxTwin(batch, machine, query_gradient, item_gradient);
}

template SoftmaxResult InBatchSoftmax(const SoftmaxBatch<float>&, const Gpu&, float*, float*);
template SoftmaxResult InBatchSoftmax(const SoftmaxBatch<double>&, const Gpu&, double*, double*);

}  // namespace hvdrec
