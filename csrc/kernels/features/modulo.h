// Many remainders by the same divisor.

#ifndef HVDREC_KERNELS_FEATURES_MODULO_H_
#define HVDREC_KERNELS_FEATURES_MODULO_H_

#include <cstdint>

namespace hvdrec {

// Remainders of a fixed divisor without a division.
class Modulo {
 public:
  explicit Modulo(uint64_t divisor = 1) : divisor_(divisor), inverse_(~uint64_t{0} / divisor) {}

  uint64_t divisor() const { return divisor_; }

  uint64_t operator()(uint64_t value) const {
    // The quotient is exact or one too small, because inverse_ >= 2^64 / divisor - 1.
    const auto quotient =
        static_cast<uint64_t>((static_cast<unsigned __int128>(value) * inverse_) >> 64);
    const uint64_t rest = value - quotient * divisor_;
    return rest >= divisor_ ? rest - divisor_ : rest;
  }

 private:
  uint64_t divisor_;
  uint64_t inverse_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_MODULO_H_
