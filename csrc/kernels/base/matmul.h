// Products of row-major matrices of floats or doubles, on the calling thread only.
//
// They come from Eigen, whose templates take a compiler longer than all other kernels: only
// matmul.cc instantiates them.

#ifndef HVDREC_KERNELS_BASE_MATMUL_H_
#define HVDREC_KERNELS_BASE_MATMUL_H_

#include <cstdint>

namespace hvdrec {

// Some rows and columns of an array whose rows are `stride` numbers apart.
template <typename T>
struct Matrix {
  const T* data;
  int64_t rows;
  int64_t columns;
  int64_t stride;
};

// out [m, n] = a [m, k] b [k, n]; the rows of `out` are `stride` numbers apart, as in all of these.
template <typename T>
void MatMul(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride);

// out [m, n] = a^T b with a [k, m] and b [k, n].
template <typename T>
void MatMulFirstTransposed(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride);

// out [m, n] = a b^T with a [m, k] and b [n, k].
template <typename T>
void MatMulSecondTransposed(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride);

// The first two, added to `out`.
template <typename T>
void AddMatMul(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride);
template <typename T>
void AddMatMulFirstTransposed(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_MATMUL_H_
