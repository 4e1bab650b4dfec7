// CRC-32C (Castagnoli), as used in TFRecord files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hvdrec {

uint32_t Crc32c(const char* data, size_t size);

// The masked form that is stored with data, so that data may itself contain checksums.
inline uint32_t MaskedCrc32c(const char* data, size_t size) {
  const uint32_t crc = Crc32c(data, size);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace hvdrec
