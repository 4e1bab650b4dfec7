// Treats denormal floats as 0 on the calling thread during the lifetime of this object.
//
// TensorFlow sets its threads this way, other threads aren't: code that runs on both needs this to
// give the same bits.

#ifndef HVDREC_KERNELS_BASE_FLUSH_DENORMALS_H_
#define HVDREC_KERNELS_BASE_FLUSH_DENORMALS_H_

#include <cstdint>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace hvdrec {

class FlushDenormals {
 public:
#ifdef __SSE2__
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlushAndZero); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  // Results are flushed to 0, and operands taken as 0.
  static constexpr unsigned kFlushAndZero = 0x8040;
  const unsigned before_;

 public:
#elif defined(__aarch64__)
  FlushDenormals() : before_(Mode()) { SetMode(before_ | kFlushAndZero); }
  ~FlushDenormals() { SetMode(before_); }

 private:
  // The bit FZ of FPCR, for operands and results.
  static constexpr uint64_t kFlushAndZero = uint64_t{1} << 24;

  static uint64_t Mode() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void SetMode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }

  const uint64_t before_;

 public:
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_FLUSH_DENORMALS_H_
