#include "kernels/base/matmul.h"

#include <Eigen/Core>
#include <cstdlib>

// The Eigen that TensorFlow ships, compiled here for each kind of processor: TensorFlow's own build
// of it doesn't use FMA. In one thread, the order of its additions depends only on shapes and
// caches.

#if defined(EIGEN_VECTORIZE_AVX512) && EIGEN_USE_AVX512_GEMM_KERNELS
// Eigen compiles its kernel for AVX-512 four times for each type: for any factor and for 1, for any
// distance between the columns of the result and for 1. Only the last of them ever runs here, and
// the others would take most of the time in which this file is compiled.
namespace Eigen::internal {

#define HVDREC_NEVER_RUNS(T, mr, is_alpha1, is_unit_inc)                                           \
  template <>                                                                                      \
  EIGEN_DONT_INLINE void gemm_kern_avx512<T, mr, 8, is_alpha1, false, is_unit_inc>(                \
      Index, Index, Index, T*, const T*, const T*, T*, Index, Index, Index, Index, Index, Index) { \
    std::abort();                                                                                  \
  }
HVDREC_NEVER_RUNS(float, 48, false, true)
HVDREC_NEVER_RUNS(float, 48, true, false)
HVDREC_NEVER_RUNS(float, 48, false, false)
HVDREC_NEVER_RUNS(double, 24, false, true)
HVDREC_NEVER_RUNS(double, 24, true, false)
HVDREC_NEVER_RUNS(double, 24, false, false)
#undef HVDREC_NEVER_RUNS

}  // namespace Eigen::internal
#endif

namespace hvdrec {
namespace {

template <typename T>
using Dense = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;

template <typename T>
Eigen::Map<const Dense<T>, 0, Stride> In(const Matrix<T>& m) {
  return {m.data, m.rows, m.columns, Stride(m.stride)};
}

template <typename T>
Eigen::Map<Dense<T>, 0, Stride> Out(T* data, int64_t rows, int64_t columns, int64_t stride) {
  return {data, rows, columns, Stride(stride)};
}

}  // namespace

template <typename T>
void MatMul(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride) {
  Out(out, a.rows, b.columns, stride).noalias() = In(a) * In(b);
}

template <typename T>
void MatMulFirstTransposed(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride) {
  Out(out, a.columns, b.columns, stride).noalias() = In(a).transpose() * In(b);
}

template <typename T>
void MatMulSecondTransposed(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride) {
  Out(out, a.rows, b.rows, stride).noalias() = In(a) * In(b).transpose();
}

template <typename T>
void AddMatMul(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride) {
  Out(out, a.rows, b.columns, stride).noalias() += In(a) * In(b);
}

template <typename T>
void AddMatMulFirstTransposed(const Matrix<T>& a, const Matrix<T>& b, T* out, int64_t stride) {
  Out(out, a.columns, b.columns, stride).noalias() += In(a).transpose() * In(b);
}

using FloatMatrix = Matrix<float>;
using DoubleMatrix = Matrix<double>;
template void MatMul(const FloatMatrix&, const FloatMatrix&, float*, int64_t);
template void MatMulFirstTransposed(const FloatMatrix&, const FloatMatrix&, float*, int64_t);
template void MatMulSecondTransposed(const FloatMatrix&, const FloatMatrix&, float*, int64_t);
template void MatMulSecondTransposed(const DoubleMatrix&, const DoubleMatrix&, double*, int64_t);
template void AddMatMul(const FloatMatrix&, const FloatMatrix&, float*, int64_t);
template void AddMatMul(const DoubleMatrix&, const DoubleMatrix&, double*, int64_t);
template void AddMatMulFirstTransposed(const FloatMatrix&, const FloatMatrix&, float*, int64_t);
template void AddMatMulFirstTransposed(const DoubleMatrix&, const DoubleMatrix&, double*, int64_t);

}  // namespace hvdrec
