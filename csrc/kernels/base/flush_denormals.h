// Treats denormal floats as 0 on the calling thread during the lifetime of this object.
//
// TensorFlow sets its threads this way, other threads aren't: code that runs on both needs this to
// give the same bits.

#ifndef HVDREC_KERNELS_BASE_FLUSH_DENORMALS_H_
#define HVDREC_KERNELS_BASE_FLUSH_DENORMALS_H_

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
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_FLUSH_DENORMALS_H_
