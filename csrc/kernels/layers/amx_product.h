// Products of float matrices on Intel's matrix unit (AMX), which multiplies bfloat16 and adds in
// float32.
//
// Each factor is split into three bfloat16, x = high + middle + low, exactly unless x is so small
// that `low` is denormal. Of the nine products of the parts, six are added; the other three are
// below 2^-25 of |a b|:
//
//   a b ~ ah bh + ah bm + am bh + am bm + ah bl + al bh
//
// With n terms, a result's error is at most (n / 4 + 20) 2^-24 sum |a b|, about as in products
// of floats; see the source. Denormal numbers and results count as 0. A result that isn't finite
// with floats isn't finite here, but can be NaN where it was infinite, and one that is within 1 %
// of the largest float can overflow. Results depend on their row and column alone, not on other
// ones.

#ifndef HVDREC_KERNELS_LAYERS_AMX_PRODUCT_H_
#define HVDREC_KERNELS_LAYERS_AMX_PRODUCT_H_

#include <cstdint>

#include "kernels/base/matmul.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512DQ__) && defined(__linux__)
#define HVDREC_AMX 1
#else
#define HVDREC_AMX 0
#endif

namespace hvdrec {

// Whether this library has been compiled for AMX, and Linux lets this process use it. The first
// call asks Linux.
bool HasAmx();

#if HVDREC_AMX

// Whether products of rows with these terms and columns take clearly less time than with AVX-512,
// and whether those of a transposed matrix do, [terms, rows]^T times [terms, columns], with many
// terms.
bool AmxMultipliesFaster(int64_t terms, int64_t columns);
bool AmxMultipliesTransposedFaster(int64_t rows, int64_t columns);

// Floats of memory for 32 columns of the second factor with so many terms.
int64_t AmxPanelSize(int64_t terms);

// Splits up to 32 columns of the second factor, a matrix [terms, columns] or, `transposed`,
// [columns, terms], into a panel: memory for AmxPanelSize floats, at a multiple of 64 bytes.
void AmxPack(const Matrix<float>& matrix, bool transposed, float* panel);

// out [m, columns] = a [m, terms] times the second factor, whose panels follow each other.
void AmxMultiply(const Matrix<float>& a, const float* panels, int64_t columns, float* out);

// out [a.columns, b.columns] = a^T b, or `adds` it to `out`, whose rows are `stride` numbers apart.
void AmxMultiplyTransposed(const Matrix<float>& a, const Matrix<float>& b, bool adds, float* out,
                           int64_t stride);

#endif

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_AMX_PRODUCT_H_
