// Scratch memory of a kernel, kept for the next call.
//
// The system provides a large block page by page, at its first use: for kernels that pass over
// their rows a few times, this costs as much as the passes.

#ifndef HVDREC_KERNELS_BASE_SCRATCH_H_
#define HVDREC_KERNELS_BASE_SCRATCH_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

// A block that may be larger than requested; it is returned with the same `bytes`. The process
// keeps up to 512 MB of such blocks. Safe to call from several threads.
void* TakeScratch(size_t bytes);
void GiveScratch(void* block, size_t bytes) noexcept;

template <typename T>
struct ScratchAllocator : UninitializedAllocator<T> {
  template <typename U>
  struct rebind {
    using other = ScratchAllocator<U>;
  };
  ScratchAllocator() = default;
  template <typename U>
  ScratchAllocator(const ScratchAllocator<U>&) noexcept {}

  T* allocate(size_t count) { return static_cast<T*>(TakeScratch(count * sizeof(T))); }
  void deallocate(T* block, size_t count) noexcept { GiveScratch(block, count * sizeof(T)); }
};

// A vector in scratch memory that doesn't initialize new elements to zero.
template <typename T>
using Scratch = std::vector<T, ScratchAllocator<T>>;

// Scratch memory that begins with a cache line.
template <typename T>
class AlignedScratch {
 public:
  explicit AlignedScratch(size_t count) : block_(count + kLine / sizeof(T)) {
    void* begin = block_.data();
    size_t bytes = block_.size() * sizeof(T);
    data_ = static_cast<T*>(std::align(kLine, count * sizeof(T), begin, bytes));
  }
  AlignedScratch(const AlignedScratch&) = delete;
  AlignedScratch& operator=(const AlignedScratch&) = delete;

  T* data() const { return data_; }

 private:
  static constexpr size_t kLine = 64;

  Scratch<T> block_;
  T* data_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_SCRATCH_H_
