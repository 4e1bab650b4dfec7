// Loops over the elements of embeddings, which are short, with a width that the compiler knows.

#ifndef HVDREC_KERNELS_BASE_WIDTH_H_
#define HVDREC_KERNELS_BASE_WIDTH_H_

#include <cstdint>
#include <type_traits>

namespace hvdrec {

// Stands for any width, where it isn't one that the compiler knows.
inline constexpr int64_t kAnyWidth = 0;

// Returns call(width) for rows of `dim` elements, with a constant that is `dim` for the usual
// widths, and kAnyWidth for others.
template <typename Call>
auto WithWidth(int64_t dim, const Call& call) {
  switch (dim) {
    case 8:
      return call(std::integral_constant<int64_t, 8>());
    case 16:
      return call(std::integral_constant<int64_t, 16>());
    case 32:
      return call(std::integral_constant<int64_t, 32>());
    default:
      return call(std::integral_constant<int64_t, kAnyWidth>());
  }
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_WIDTH_H_
