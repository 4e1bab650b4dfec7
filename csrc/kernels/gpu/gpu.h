// Where kernels run on a GPU, and where their scratch memory comes from.

#ifndef HVDREC_KERNELS_GPU_GPU_H_
#define HVDREC_KERNELS_GPU_GPU_H_

#include <cstddef>

struct CUstream_st;  // *: CUDA's cudaStream_t

namespace hvdrec {

// Allocates GPU memory, which stays valid until the work that is on the stream at the end of the
// call has run. Throws std::bad_alloc if there is none.
class GpuScratch {
 public:
  virtual ~GpuScratch() = default;
  virtual void* Allocate(size_t bytes) = 0;
};

struct Gpu {
  CUstream_st* stream;
  GpuScratch* scratch;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_GPU_H_
