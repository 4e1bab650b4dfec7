#include "kernels/features/fingerprint.h"

#include <utility>

namespace hvdrec {
namespace farmhash {
namespace {

using Pair = std::pair<uint64_t, uint64_t>;

inline uint64_t Hash17To32(const char* s, size_t length) {
  const uint64_t mul = k2 + length * 2;
  const uint64_t a = Fetch64(s) * k1;
  const uint64_t b = Fetch64(s + 8);
  const uint64_t c = Fetch64(s + length - 8) * mul;
  const uint64_t d = Fetch64(s + length - 16) * k2;
  return HashLength16(Rotate(a + b, 43) + Rotate(c, 30) + d, a + Rotate(b + k2, 18) + c, mul);
}

inline uint64_t Hash33To64(const char* s, size_t length) {
  const uint64_t mul = k2 + length * 2;
  const uint64_t a = Fetch64(s) * k2;
  const uint64_t b = Fetch64(s + 8);
  const uint64_t c = Fetch64(s + length - 8) * mul;
  const uint64_t d = Fetch64(s + length - 16) * k2;
  const uint64_t y = Rotate(a + b, 43) + Rotate(c, 30) + d;
  const uint64_t z = HashLength16(y, a + Rotate(b + k2, 18) + c, mul);
  const uint64_t e = Fetch64(s + 16) * mul;
  const uint64_t f = Fetch64(s + 24);
  const uint64_t g = (y + Fetch64(s + length - 32)) * mul;
  const uint64_t h = (z + Fetch64(s + length - 24)) * mul;
  return HashLength16(Rotate(e + f, 43) + Rotate(g, 30) + h, e + Rotate(f + a, 18) + g, mul);
}

inline Pair WeakHash32(const char* s, uint64_t a, uint64_t b) {
  const uint64_t w = Fetch64(s), x = Fetch64(s + 8), y = Fetch64(s + 16), z = Fetch64(s + 24);
  a += w;
  b = Rotate(b + a + z, 21);
  const uint64_t c = a;
  a += x;
  a += y;
  b += Rotate(a, 44);
  return {a + z, b + c};
}

}  // namespace

uint64_t HashLong(const char* s, size_t length) {
  if (length <= 32) return Hash17To32(s, length);
  if (length <= 64) return Hash33To64(s, length);
  constexpr uint64_t seed = 81;
  uint64_t x = seed;
  uint64_t y = seed * k1 + 113;
  uint64_t z = ShiftMix(y * k2 + 113) * k2;
  Pair v{0, 0}, w{0, 0};
  x = x * k2 + Fetch64(s);
  const char* end = s + ((length - 1) / 64) * 64;
  const char* last = end + ((length - 1) & 63) - 63;
  do {
    x = Rotate(x + y + v.first + Fetch64(s + 8), 37) * k1;
    y = Rotate(y + v.second + Fetch64(s + 48), 42) * k1;
    x ^= w.second;
    y += v.first + Fetch64(s + 40);
    z = Rotate(z + w.first, 33) * k1;
    v = WeakHash32(s, v.second * k1, x + w.first);
    w = WeakHash32(s + 32, z + w.second, y + Fetch64(s + 16));
    std::swap(z, x);
    s += 64;
  } while (s != end);
  const uint64_t mul = k1 + ((z & 0xff) << 1);
  s = last;
  w.first += (length - 1) & 63;
  v.first += w.first;
  w.first += v.first;
  x = Rotate(x + y + v.first + Fetch64(s + 8), 37) * mul;
  y = Rotate(y + v.second + Fetch64(s + 48), 42) * mul;
  x ^= w.second * 9;
  y += v.first * 9 + Fetch64(s + 40);
  z = Rotate(z + w.first, 33) * mul;
  v = WeakHash32(s, v.second * mul, x + w.first);
  w = WeakHash32(s + 32, z + w.second, y + Fetch64(s + 16));
  std::swap(z, x);
  return HashLength16(HashLength16(v.first, w.first, mul) + ShiftMix(y) * k0 + z,
                      HashLength16(v.second, w.second, mul) + x, mul);
}

}  // namespace farmhash
}  // namespace hvdrec
