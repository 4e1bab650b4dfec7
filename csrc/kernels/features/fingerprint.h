// FarmHash's Fingerprint64, which TensorFlow's string_to_hash_bucket_fast takes modulo the
// number of buckets.
//
// The algorithm is farmhashna::Hash64 of FarmHash (Geoff Pike, Google, MIT licence), whose values
// are guaranteed never to change. Little-endian machines only. Texts up to 16 bytes, which is most
// of them, are hashed inline.

#ifndef HVDREC_KERNELS_FEATURES_FINGERPRINT_H_
#define HVDREC_KERNELS_FEATURES_FINGERPRINT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace hvdrec {
namespace farmhash {

constexpr uint64_t k0 = 0xc3a5c85c97cb3127ULL;
constexpr uint64_t k1 = 0xb492b66fbe98f273ULL;
constexpr uint64_t k2 = 0x9ae16a3b2f90404fULL;

inline uint64_t Fetch64(const char* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

inline uint64_t Fetch32(const char* p) {
  uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

inline uint64_t Rotate(uint64_t value, int shift) {
  return (value >> shift) | (value << (64 - shift));
}

inline uint64_t ShiftMix(uint64_t value) { return value ^ (value >> 47); }

inline uint64_t HashLength16(uint64_t u, uint64_t v, uint64_t mul) {
  const uint64_t a = ShiftMix((u ^ v) * mul);
  return ShiftMix((v ^ a) * mul) * mul;
}

inline uint64_t HashUpTo16(const char* s, size_t length) {
  if (length >= 8) {
    const uint64_t mul = k2 + length * 2;
    const uint64_t a = Fetch64(s) + k2;
    const uint64_t b = Fetch64(s + length - 8);
    const uint64_t c = Rotate(b, 37) * mul + a;
    const uint64_t d = (Rotate(a, 25) + b) * mul;
    return HashLength16(c, d, mul);
  }
  if (length >= 4) {
    const uint64_t mul = k2 + length * 2;
    return HashLength16(length + (Fetch32(s) << 3), Fetch32(s + length - 4), mul);
  }
  if (length > 0) {
    const uint32_t a = static_cast<uint8_t>(s[0]);
    const uint32_t b = static_cast<uint8_t>(s[length >> 1]);
    const uint32_t c = static_cast<uint8_t>(s[length - 1]);
    const uint32_t y = a + (b << 8);
    const uint32_t z = static_cast<uint32_t>(length) + (c << 2);
    return ShiftMix(y * k2 ^ z * k0) * k2;
  }
  return k2;
}

// Texts of more than 16 bytes.
uint64_t HashLong(const char* s, size_t length);

}  // namespace farmhash

// The fingerprint of some bytes.
inline uint64_t Fingerprint64(const char* bytes, size_t length) {
  return length <= 16 ? farmhash::HashUpTo16(bytes, length) : farmhash::HashLong(bytes, length);
}

inline uint64_t Fingerprint64(std::string_view text) {
  return Fingerprint64(text.data(), text.size());
}

// The fingerprint of two fingerprints in order, as TensorFlow's FingerprintCat64.
inline uint64_t FingerprintCat64(uint64_t first, uint64_t second) {
  constexpr uint64_t mul = 0xc6a4a7935bd1e995ULL;
  uint64_t result = first ^ mul;
  result ^= farmhash::ShiftMix(second * mul) * mul;
  result *= mul;
  result = farmhash::ShiftMix(result) * mul;
  return farmhash::ShiftMix(result);
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_FINGERPRINT_H_
