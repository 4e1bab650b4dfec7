// FarmHash's Fingerprint64, which TensorFlow's string_to_hash_bucket_fast takes modulo the
// number of buckets.
//
// The algorithm is farmhashna::Hash64 of FarmHash (Geoff Pike, Google, MIT licence), whose values
// are promised never to change. Little-endian machines only.

#ifndef HVDREC_KERNELS_FINGERPRINT_H_
#define HVDREC_KERNELS_FINGERPRINT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hvdrec {

// The fingerprint of some bytes.
uint64_t Fingerprint64(const char* bytes, size_t length);

inline uint64_t Fingerprint64(std::string_view text) {
  return Fingerprint64(text.data(), text.size());
}

// The fingerprint of two fingerprints in order, as TensorFlow's FingerprintCat64.
uint64_t FingerprintCat64(uint64_t first, uint64_t second);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FINGERPRINT_H_
