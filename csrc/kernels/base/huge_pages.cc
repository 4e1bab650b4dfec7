#include "kernels/base/huge_pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace hvdrec {

#if defined(__linux__)

namespace {

constexpr uintptr_t kPage = uintptr_t{2} << 20;
// The cache of page addresses covers smaller arrays.
constexpr uintptr_t kLeast = uintptr_t{16} << 20;
// Linux 6.1's MADV_COLLAPSE, which older headers lack; older kernels refuse it, and move the memory
// in the background.
constexpr int kCollapse = 25;

}  // namespace

int64_t UseHugePages(const void* data, int64_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + kPage - 1) / kPage * kPage;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / kPage * kPage;
  if (end < begin + kLeast) return 0;
  void* const first = reinterpret_cast<void*>(begin);
  if (madvise(first, end - begin, MADV_HUGEPAGE) != 0) return 0;
  // What can't be moved for lack of free memory stays where it is.
  static_cast<void>(madvise(first, end - begin, kCollapse));
  return static_cast<int64_t>(end - begin);
}

#else

int64_t UseHugePages(const void*, int64_t) { return 0; }

#endif

}  // namespace hvdrec
