// exp(scale * x - shift) of a row in place, with its sum, in one pass.
//
// Written with the compiler's vector types, as wide as the registers of the kind of processor: the
// sum's last bits depend on it.

#ifndef HVDREC_KERNELS_BASE_EXP_ROW_H_
#define HVDREC_KERNELS_BASE_EXP_ROW_H_

#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/base/vector_math.h"

namespace hvdrec {

#if defined(__AVX512F__)
constexpr int kFloatLanes = 16;
#elif defined(__AVX__)
constexpr int kFloatLanes = 8;
#else
constexpr int kFloatLanes = 4;
#endif
using Floats = float __attribute__((vector_size(kFloatLanes * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kFloatLanes * sizeof(int32_t))));

// e^x to 2e-7 of it for x in -87..0, and 0 for smaller ones, also -infinity; after Cephes' expf.
inline Floats ExpOfNegative(Floats x) {
  const Ints in_range = x >= -87.0f;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Floats shifted = x * 1.44269504f + 12582912.0f;
  const Floats k = shifted - 12582912.0f;
  const Floats r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Ints exponent = (reinterpret_cast<Ints>(shifted) + 127) << 23;
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(p * reinterpret_cast<Floats>(exponent)) &
                                  in_range);
}

// The same to 2 units in the last place for x in -708..0.
inline Doubles ExpOfNegative(Doubles x) {
  const Longs in_range = x >= -708.0;
  return reinterpret_cast<Doubles>(reinterpret_cast<Longs>(Exp(x)) & in_range);
}

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = Floats;
};
template <>
struct VectorOf<double> {
  using Type = Doubles;
};

// Replaces each value x by exp(scale * x - shift), and returns their sum. No exponent may be above
// 0; values of -infinity become 0.
template <typename T>
T ExpRow(T* values, int64_t count, T scale, T shift) {
  using V = typename VectorOf<T>::Type;
  constexpr int64_t kWidth = sizeof(V) / sizeof(T);
  V sum = {};
  int64_t j = 0;
  for (; j + kWidth <= count; j += kWidth) {
    V v;
    std::memcpy(&v, values + j, sizeof(v));
    v = ExpOfNegative(v * scale - shift);
    std::memcpy(values + j, &v, sizeof(v));
    sum += v;
  }
  if (j < count) {
    V v = V{} - std::numeric_limits<T>::infinity();
    std::memcpy(&v, values + j, static_cast<size_t>(count - j) * sizeof(T));
    v = ExpOfNegative(v * scale - shift);
    std::memcpy(values + j, &v, static_cast<size_t>(count - j) * sizeof(T));
    sum += v;
  }
  T total = 0;
  for (int64_t k = 0; k < kWidth; ++k) total += sum[k];
  return total;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_EXP_ROW_H_
