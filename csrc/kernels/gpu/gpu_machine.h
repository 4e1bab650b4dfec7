// Runs the kernels of kernels/gpu/steps.h on a GPU. For .cu files.

#ifndef HVDREC_KERNELS_GPU_GPU_MACHINE_H_
#define HVDREC_KERNELS_GPU_GPU_MACHINE_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/gpu/gpu.h"
#include "kernels/gpu/steps.h"

namespace hvdrec {

inline void CheckCuda(cudaError_t status) {
  if (status != cudaSuccess) {
    throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
  }
}

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads) RunSteps(const Kernel kernel) {
  // As bytes, because no constructor runs for shared memory.
  __shared__ alignas(16) unsigned char shared[sizeof(typename Kernel::Shared)];
  typename Kernel::Local local;
  const int64_t block = blockIdx.x;
  const int64_t steps = kernel.Steps(block);
  for (int64_t step = 0; step < steps; ++step) {
    if (step > 0) __syncthreads();
    kernel.Step(step, block, static_cast<int>(threadIdx.x),
                reinterpret_cast<typename Kernel::Shared*>(shared), &local);
  }
}

class CudaMachine {
 public:
  explicit CudaMachine(const Gpu& gpu) : gpu_(gpu) {}

  template <typename V>
  V* Allocate(int64_t count) {
    return static_cast<V*>(gpu_.scratch->Allocate(static_cast<size_t>(count) * sizeof(V)));
  }

  template <typename Kernel>
  void Launch(const Kernel& kernel, int64_t blocks) {
    static_assert(std::is_trivially_copyable_v<Kernel>, "a kernel is copied to the GPU");
    if (blocks == 0) return;
    if (blocks > std::numeric_limits<int32_t>::max()) {
      throw std::invalid_argument("too many rows for one launch");
    }
    RunSteps<<<static_cast<unsigned>(blocks), Kernel::kThreads, 0, gpu_.stream>>>(kernel);
    CheckCuda(cudaGetLastError());
  }

  template <typename V>
  V Read(const V* from) {
    V value;
    CheckCuda(cudaMemcpyAsync(&value, from, sizeof(V), cudaMemcpyDeviceToHost, gpu_.stream));
    CheckCuda(cudaStreamSynchronize(gpu_.stream));
    return value;
  }

  // Returns when it is done, so `from` needn't be kept.
  template <typename V>
  void Upload(const V* from, int64_t count, V* to) {
    CheckCuda(cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(V),
                              cudaMemcpyHostToDevice, gpu_.stream));
    CheckCuda(cudaStreamSynchronize(gpu_.stream));
  }

  // Of numbers, and of structs of them.
  template <typename V>
  void Zero(V* to, int64_t count) {
    CheckCuda(cudaMemsetAsync(to, 0, static_cast<size_t>(count) * sizeof(V), gpu_.stream));
  }

  void SortPairs(const uint64_t* keys, uint64_t* keys_out, const int32_t* values,
                 int32_t* values_out, int64_t count, int bits);
  void InclusiveSum(const int32_t* in, int32_t* out, int64_t count);

 private:
  // Scratch of the sorts and sums, shared because the stream runs them one after the other.
  void* Temporary(size_t bytes) {
    if (temporary_ == nullptr || bytes > temporary_bytes_) {
      temporary_ = gpu_.scratch->Allocate(bytes);
      temporary_bytes_ = bytes;
    }
    return temporary_;
  }

  const Gpu gpu_;
  void* temporary_ = nullptr;
  size_t temporary_bytes_ = 0;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_GPU_MACHINE_H_
