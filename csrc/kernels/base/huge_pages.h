// Huge pages for large tables.

#ifndef HVDREC_KERNELS_BASE_HUGE_PAGES_H_
#define HVDREC_KERNELS_BASE_HUGE_PAGES_H_

#include <cstdint>

namespace hvdrec {

// Asks the kernel to keep memory in pages of 2 MB, and moves it to such pages now where it can.
// Reading rows at random places otherwise misses the cache of page addresses for nearly every row.
// Contents and addresses stay the same. Returns the number of bytes that it applies to: 0 for small
// arrays, and where the system has no such pages.
int64_t UseHugePages(const void* data, int64_t bytes);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_HUGE_PAGES_H_
