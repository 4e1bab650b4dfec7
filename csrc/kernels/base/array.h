// A vector that doesn't initialize new elements to zero.

#ifndef HVDREC_KERNELS_BASE_ARRAY_H_
#define HVDREC_KERNELS_BASE_ARRAY_H_

#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace hvdrec {

template <typename T>
struct UninitializedAllocator : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = UninitializedAllocator<U>;
  };
  template <typename U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <typename U, typename... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
};

template <typename T>
using Array = std::vector<T, UninitializedAllocator<T>>;

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_ARRAY_H_
