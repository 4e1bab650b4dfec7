#include "kernels/base/scratch.h"

#include <sys/mman.h>

#include <map>
#include <mutex>
#include <new>

namespace hvdrec {
namespace {

// Smaller blocks are kept by the system's allocator itself.
constexpr size_t kSmall = size_t{1} << 16;
constexpr size_t kMostKept = size_t{512} << 20;

// The sizes of blocks: four per factor of two, so that inputs of similar sizes share them.
size_t BlockSize(size_t bytes) {
  size_t step = kSmall / 4;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// Blocks from this size on use huge pages where the system provides them on request: one page
// instead of 512, so there are 512 times fewer page faults.
constexpr size_t kHuge = size_t{4} << 20;
constexpr std::align_val_t kHugePage{size_t{2} << 20};

void* Allocate(size_t size) {
  if (size < kHuge) return ::operator new(size);
  void* const block = ::operator new(size, kHugePage);
#ifdef MADV_HUGEPAGE
  madvise(block, size, MADV_HUGEPAGE);  // only advice
#endif
  return block;
}

void Free(void* block, size_t size) noexcept {
  if (size < kHuge) {
    ::operator delete(block);
  } else {
    ::operator delete(block, kHugePage);
  }
}

class Kept {
 public:
  void* Take(size_t size) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = blocks_.find(size);
      if (found != blocks_.end()) {
        void* const block = found->second;
        blocks_.erase(found);
        bytes_ -= size;
        return block;
      }
    }
    return Allocate(size);
  }

  void Give(void* block, size_t size) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Kept blocks of sizes that are no longer requested must not exclude others.
    if (bytes_ + size > kMostKept) Clear();
    if (size <= kMostKept) {
      try {
        blocks_.emplace(size, block);
        bytes_ += size;
        return;
      } catch (const std::bad_alloc&) {  // then it isn't kept
      }
    }
    Free(block, size);
  }

 private:
  void Clear() {
    for (const auto& [size, block] : blocks_) Free(block, size);
    blocks_.clear();
    bytes_ = 0;
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> blocks_;
  size_t bytes_ = 0;
};

// Never destroyed: threads may use it while a process ends.
Kept& TheKept() {
  static Kept* const kept = new Kept;
  return *kept;
}

// Under AddressSanitizer each block is new and has the exact size, so that overruns are detected.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeep = false;
#else
constexpr bool kKeep = true;
#endif

}  // namespace

void* TakeScratch(size_t bytes) {
  return kKeep && bytes >= kSmall ? TheKept().Take(BlockSize(bytes)) : ::operator new(bytes);
}

void GiveScratch(void* block, size_t bytes) noexcept {
  if (kKeep && bytes >= kSmall) {
    TheKept().Give(block, BlockSize(bytes));
  } else {
    ::operator delete(block);
  }
}

}  // namespace hvdrec
