#include "kernels/rows/crc32c.h"

#include <array>
#include <cstring>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace hvdrec {
namespace {

#if !defined(__SSE4_2__)
// The remainders of all bytes by the reflected polynomial.
constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();
#endif

}  // namespace

uint32_t Crc32c(const char* data, size_t size) {
  const char* const end = data + size;
#if defined(__SSE4_2__)
  uint64_t crc = 0xffffffffu;
  for (; end - data >= 8; data += 8) {
    uint64_t word;
    std::memcpy(&word, data, sizeof(word));
    crc = _mm_crc32_u64(crc, word);
  }
  uint32_t rest = static_cast<uint32_t>(crc);
  for (; data < end; ++data) rest = _mm_crc32_u8(rest, static_cast<uint8_t>(*data));
#else
  uint32_t rest = 0xffffffffu;
  for (; data < end; ++data) {
    rest = (rest >> 8) ^ kTable[(rest ^ static_cast<uint8_t>(*data)) & 0xff];
  }
#endif
  return ~rest;
}

}  // namespace hvdrec
