// Products of row-major float32 matrices, on the calling thread only.

#ifndef HVDREC_KERNELS_LAYERS_MATMUL_H_
#define HVDREC_KERNELS_LAYERS_MATMUL_H_

#include <cstdint>

namespace hvdrec {

// Some rows and columns of an array whose rows are `stride` floats apart.
struct Matrix {
  const float* data;
  int64_t rows;
  int64_t columns;
  int64_t stride;
};

// out [m, n] = a [m, k] b [k, n]; the rows of `out` are `stride` floats apart, as in all of these.
void MatMul(const Matrix& a, const Matrix& b, float* out, int64_t stride);

// out [m, n] = a^T b with a [k, m] and b [k, n].
void MatMulFirstTransposed(const Matrix& a, const Matrix& b, float* out, int64_t stride);

// out [m, n] = a b^T with a [m, k] and b [n, k].
void MatMulSecondTransposed(const Matrix& a, const Matrix& b, float* out, int64_t stride);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_MATMUL_H_
