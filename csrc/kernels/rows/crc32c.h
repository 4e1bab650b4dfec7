// CRC-32C (Castagnoli), as TFRecord files have it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hvdrec {

uint32_t Crc32c(const char* data, size_t size);

// The form that is stored beside data, so that the checksum of data that holds checksums is sound.
inline uint32_t MaskedCrc32c(const char* data, size_t size) {
  const uint32_t crc = Crc32c(data, size);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace hvdrec
