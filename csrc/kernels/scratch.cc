#include "kernels/scratch.h"

#include <map>
#include <mutex>
#include <new>

namespace hvdrec {
namespace {

// What is smaller the system's allocator keeps itself.
constexpr size_t kSmall = size_t{1} << 16;
constexpr size_t kMostKept = size_t{64} << 20;

// Sizes that blocks come in: four to a doubling, so that inputs of nearly one size share them.
size_t BlockSize(size_t bytes) {
  size_t step = kSmall / 4;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
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
    return ::operator new(size);
  }

  void Give(void* block, size_t size) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    // What is kept of sizes no longer asked for must not keep others out.
    if (bytes_ + size > kMostKept) Clear();
    if (size <= kMostKept) {
      try {
        blocks_.emplace(size, block);
        bytes_ += size;
        return;
      } catch (const std::bad_alloc&) {  // then it isn't kept
      }
    }
    ::operator delete(block);
  }

 private:
  void Clear() {
    for (const auto& [size, block] : blocks_) ::operator delete(block);
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

// Under AddressSanitizer each block is of the very size, and new: then reading past its end shows.
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
