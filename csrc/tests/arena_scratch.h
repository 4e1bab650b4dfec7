// Memory of the GPU for kernels that run outside TensorFlow. For .cu files.

#ifndef HVDREC_TESTS_ARENA_SCRATCH_H_
#define HVDREC_TESTS_ARENA_SCRATCH_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <new>
#include <vector>

#include "kernels/gpu/gpu.h"

namespace hvdrec {

// Kept from call to call, like TensorFlow's allocator does, so that only the kernels are timed.
class ArenaScratch final : public GpuScratch {
 public:
  ArenaScratch() = default;
  ArenaScratch(const ArenaScratch&) = delete;
  ArenaScratch& operator=(const ArenaScratch&) = delete;
  ~ArenaScratch() override {
    for (const Block& block : blocks_) cudaFree(block.data);
  }

  // Everything that was allocated may be allocated again.
  void Rewind() {
    next_ = 0;
    handed_out_ = 0;
  }

  // Bytes allocated since then.
  size_t handed_out() const { return handed_out_; }

  void* Allocate(size_t bytes) override {
    bytes = std::max<size_t>(bytes, 1);
    if (next_ == blocks_.size() || blocks_[next_].bytes < bytes) {
      Block block{nullptr, bytes};
      if (cudaMalloc(&block.data, bytes) != cudaSuccess) throw std::bad_alloc();
      blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(next_), block);
    }
    handed_out_ += bytes;
    return blocks_[next_++].data;
  }

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  std::vector<Block> blocks_;
  size_t next_ = 0, handed_out_ = 0;
};

}  // namespace hvdrec

#endif  // HVDREC_TESTS_ARENA_SCRATCH_H_
