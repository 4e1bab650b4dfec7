// Memory of a kernel's own, kept for the next call.
//
// A large block from the system comes page by page, at its first use: for kernels that pass over
// their rows a few times that costs as much as the passes.

#ifndef HVDREC_KERNELS_BASE_SCRATCH_H_
#define HVDREC_KERNELS_BASE_SCRATCH_H_

#include <cstddef>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

// A block that may be larger than asked for; with the same `bytes` it goes back. Up to 512 MB
// of such blocks stay with the process. Safe to call from several threads.
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

// A vector of scratch, whose new elements are not set to zero.
template <typename T>
using Scratch = std::vector<T, ScratchAllocator<T>>;

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_SCRATCH_H_
