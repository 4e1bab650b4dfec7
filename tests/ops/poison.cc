// Fills new memory with bytes 0xFF, which are NaN as numbers and -1 as integers: preloaded by test_poisoned.py.

#include <malloc.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

extern "C" {

void* __libc_malloc(size_t);
void* __libc_memalign(size_t, size_t);
void* __libc_realloc(void*, size_t);

void* malloc(size_t bytes) noexcept {
  void* const memory = __libc_malloc(bytes);
  return memory == nullptr ? nullptr : std::memset(memory, 0xFF, malloc_usable_size(memory));
}

void* memalign(size_t alignment, size_t bytes) noexcept {
  void* const memory = __libc_memalign(alignment, bytes);
  return memory == nullptr ? nullptr : std::memset(memory, 0xFF, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) noexcept { return memalign(alignment, bytes); }

int posix_memalign(void** memory, size_t alignment, size_t bytes) noexcept {
  void* const found = memalign(alignment, bytes);
  if (found == nullptr) return ENOMEM;
  *memory = found;
  return 0;
}

void* realloc(void* old, size_t bytes) noexcept {
  const size_t had = old == nullptr ? 0 : malloc_usable_size(old);
  void* const memory = __libc_realloc(old, bytes);
  if (memory != nullptr && bytes > had) std::memset(static_cast<char*>(memory) + had, 0xFF, bytes - had);
  return memory;
}

}  // extern "C"
