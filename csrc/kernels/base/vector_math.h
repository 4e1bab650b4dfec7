// Elementary functions of several doubles at once, the same bits on every machine.
//
// Written with the compiler's vector types, which map to the machine's vector registers.

#ifndef HVDREC_KERNELS_BASE_VECTOR_MATH_H_
#define HVDREC_KERNELS_BASE_VECTOR_MATH_H_

#include <cstdint>
#include <cstring>

namespace hvdrec {

constexpr int kLanes = 4;
using Doubles = double __attribute__((vector_size(kLanes * sizeof(double))));
using Longs = int64_t __attribute__((vector_size(kLanes * sizeof(int64_t))));

inline Doubles Fill(double value) { return Doubles{value, value, value, value}; }

inline Doubles Load(const double* from) {
  Doubles v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

// The first `count` values, and `otherwise` for missing ones.
inline Doubles LoadSome(const double* from, int64_t count, double otherwise) {
  Doubles v = Fill(otherwise);
  for (int64_t k = 0; k < count && k < kLanes; ++k) v[k] = from[k];
  return v;
}

inline void Store(double* to, Doubles v) { std::memcpy(to, &v, sizeof(v)); }

inline Doubles Select(Longs condition, Doubles yes, Doubles no) {
  return reinterpret_cast<Doubles>((condition & reinterpret_cast<Longs>(yes)) |
                                   (~condition & reinterpret_cast<Longs>(no)));
}

inline Doubles Abs(Doubles v) {
  return reinterpret_cast<Doubles>(reinterpret_cast<Longs>(v) & INT64_C(0x7FFFFFFFFFFFFFFF));
}

inline double Sum(Doubles v) { return (v[0] + v[1]) + (v[2] + v[3]); }

// e^x to about 2 units in the last place; x is clamped to -708..709.
inline Doubles Exp(Doubles x) {
  const Doubles low = Fill(-708.0), high = Fill(709.0);
  x = Select(x < low, low, x);
  x = Select(x > high, high, x);
  // Adding 1.5 * 2^52 leaves the nearest integer in the low bits.
  const Doubles shifter = Fill(6755399441055744.0);
  const Doubles shifted = x * 1.4426950408889634 + shifter;
  const Doubles k = shifted - shifter;
  const Doubles r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
  // Taylor's polynomial: |r| <= ln(2) / 2, so the first term left out is below 5e-17.
  Doubles p = Fill(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const Longs exponent = (reinterpret_cast<Longs>(shifted) + INT64_C(1023)) << 52;
  return p * reinterpret_cast<Doubles>(exponent);
}

// log(1 + z) for z in 0..1, to about 2 units in the last place of the result.
inline Doubles Log1pOfFraction(Doubles z) {
  // 1 + z above the square root of 2 is halved first; log(1 + y) = 2 atanh(y / (2 + y)).
  const Longs large = z > Fill(0.41421356237309503);
  const Doubles y = Select(large, (z - 1.0) * 0.5, z);
  const Doubles s = y / (y + 2.0);
  const Doubles q = s * s;
  Doubles p = Fill(2.0 / 21.0);
  p = p * q + 2.0 / 19.0;
  p = p * q + 2.0 / 17.0;
  p = p * q + 2.0 / 15.0;
  p = p * q + 2.0 / 13.0;
  p = p * q + 2.0 / 11.0;
  p = p * q + 2.0 / 9.0;
  p = p * q + 2.0 / 7.0;
  p = p * q + 2.0 / 5.0;
  p = p * q + 2.0 / 3.0;
  p = p * q + 2.0;
  return p * s + Select(large, Fill(0.6931471805599453), Fill(0.0));
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_VECTOR_MATH_H_
