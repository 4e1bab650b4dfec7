#include "kernels/gpu/gpu_losses.h"
#include "kernels/gpu/gpu_machine.h"
#include "kernels/pairwise/gpu/twin.h"

namespace hvdrec {

template <typename T>
PairwiseResult Pairwise(const PairwiseRows<T>& rows, const PairwiseOptions& options, const Gpu& gpu,
                        T* gradient) {
  CudaMachine machine(gpu);
  return RunPairwiseTwin(rows, options, machine, gradient);
}

template PairwiseResult Pairwise<float>(const PairwiseRows<float>&, const PairwiseOptions&,
                                        const Gpu&, float*);
template PairwiseResult Pairwise<double>(const PairwiseRows<double>&, const PairwiseOptions&,
                                         const Gpu&, double*);

}  // namespace hvdrec
