// Products of row-major float matrices for dense layers, on the calling thread only.
//
// The second factor is laid out in panels, once for all rows that are multiplied with it; the first
// one is read where it is. In contrast, Eigen (kernels/base/matmul.h) copies parts of both in each
// product. Sums run over the terms in their order, in one rounding a term where the kind of
// processor has fused multiply-add. With AMX, both factors of larger products are split into
// bfloat16 instead (amx_product.h); only the numbers of terms and columns decide which.

#ifndef HVDREC_KERNELS_LAYERS_PANELS_H_
#define HVDREC_KERNELS_LAYERS_PANELS_H_

#include <cstdint>

#include "kernels/base/scratch.h"

namespace hvdrec {

// A matrix [K, N] as panels of a few columns: [K, kColumns] each, the last one padded with zeros.
class Panels {
 public:
  // Columns of a panel: two vectors.
#if defined(__AVX512F__)
  static constexpr int64_t kColumns = 32;
#elif defined(__AVX2__)
  static constexpr int64_t kColumns = 16;
#else
  static constexpr int64_t kColumns = 8;
#endif

  // Whether Multiply is faster with factors that are split.
  static bool SplitsBest(int64_t k, int64_t n);

  // `split` only where SplitsBest.
  Panels(int64_t k, int64_t n, bool split);
  Panels(const Panels&) = delete;
  Panels& operator=(const Panels&) = delete;

  int64_t count() const { return (n_ + kColumns - 1) / kColumns; }

  // Fills a panel from the matrix, whose rows are `stride` numbers apart.
  void Pack(int64_t panel, const float* matrix, int64_t stride);

  // The same from the transposed matrix [N, K].
  void PackTransposed(int64_t panel, const float* matrix, int64_t stride);

  // out [m, N] = a [m, K] times the matrix; rows of `a` are contiguous.
  void Multiply(const float* a, int64_t m, float* out) const;

  // out [m, N] = a^T times the matrix with a [K, m], or `add`s that to `out`. The rows of `a` and
  // `out` are the given numbers apart. Not for panels that are split.
  void MultiplyTransposed(const float* a, int64_t m, int64_t a_stride, bool add, float* out,
                          int64_t stride) const;

 private:
  const float* panel(int64_t i) const { return storage_.data() + i * size_; }
  float* panel(int64_t i) { return storage_.data() + i * size_; }

  const int64_t k_;
  const int64_t n_;
  [[maybe_unused]] const bool split_;
  const int64_t size_;  // of a panel
  AlignedScratch<float> storage_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_PANELS_H_
