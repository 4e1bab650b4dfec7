#include "kernels/base/matmul.h"

#include <Eigen/Core>

// The Eigen that TensorFlow ships, compiled here for each kind of processor: TensorFlow's own build
// of it doesn't use FMA. In one thread, the order of its additions depends only on shapes and
// caches.

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
