#include "kernels/layers/matmul.h"

#include <Eigen/Core>

// The Eigen that TensorFlow ships, compiled here for this machine: TensorFlow's own build of it
// doesn't use FMA. In one thread, the order of its additions depends only on shapes and caches.

namespace hvdrec {
namespace {

using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;

Eigen::Map<const Dense, 0, Stride> In(const Matrix& m) {
  return {m.data, m.rows, m.columns, Stride(m.stride)};
}

Eigen::Map<Dense, 0, Stride> Out(float* data, int64_t rows, int64_t columns, int64_t stride) {
  return {data, rows, columns, Stride(stride)};
}

}  // namespace

void MatMul(const Matrix& a, const Matrix& b, float* out, int64_t stride) {
  Out(out, a.rows, b.columns, stride).noalias() = In(a) * In(b);
}

void MatMulFirstTransposed(const Matrix& a, const Matrix& b, float* out, int64_t stride) {
  Out(out, a.columns, b.columns, stride).noalias() = In(a).transpose() * In(b);
}

void MatMulSecondTransposed(const Matrix& a, const Matrix& b, float* out, int64_t stride) {
  Out(out, a.rows, b.rows, stride).noalias() = In(a) * In(b).transpose();
}

}  // namespace hvdrec
