#include "kernels/layers/pair_products.h"

#include <algorithm>
#include <vector>

namespace hvdrec {
namespace {

constexpr int64_t kNumbers = 1 << 15;

int64_t RowsAtOnce(const FieldShape& shape) {
  return std::max<int64_t>(1, kNumbers / std::max<int64_t>(shape.fields * shape.dim, 1));
}

// Adds up a row's fields: `sum` is [D].
void SumFields(const FieldShape& shape, const float* __restrict x, float* __restrict sum) {
  std::fill_n(sum, shape.dim, 0.0F);
  for (int64_t f = 0; f < shape.fields; ++f) {
    for (int64_t d = 0; d < shape.dim; ++d) sum[d] += x[f * shape.dim + d];
  }
}

}  // namespace

void PairProducts(const FieldShape& shape, const float* x, float* out, const Parallel& parallel) {
  const int64_t dim = shape.dim;
  ForChunks(parallel, shape.rows, RowsAtOnce(shape), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> sums(static_cast<size_t>(2 * dim));
    float* const __restrict sum = sums.data();
    float* const __restrict squares = sum + dim;
    for (int64_t b = begin; b < end; ++b) {
      const float* const __restrict row = x + b * shape.fields * dim;
      float* const __restrict to = out + b * dim;
      SumFields(shape, row, sum);
      std::fill_n(squares, dim, 0.0F);
      for (int64_t f = 0; f < shape.fields; ++f) {
        for (int64_t d = 0; d < dim; ++d) squares[d] += row[f * dim + d] * row[f * dim + d];
      }
      for (int64_t d = 0; d < dim; ++d) to[d] = 0.5F * (sum[d] * sum[d] - squares[d]);
    }
  });
}

void PairProductsBackward(const FieldShape& shape, const float* x, const float* upstream,
                          float* out, const Parallel& parallel) {
  const int64_t dim = shape.dim;
  ForChunks(parallel, shape.rows, RowsAtOnce(shape), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> sums(static_cast<size_t>(dim));
    float* const __restrict sum = sums.data();
    for (int64_t b = begin; b < end; ++b) {
      const int64_t at = b * shape.fields * dim;
      SumFields(shape, x + at, sum);
      for (int64_t f = 0; f < shape.fields; ++f) {
        const float* const __restrict row = x + at + f * dim;
        const float* const __restrict above = upstream + b * dim;
        float* const __restrict to = out + at + f * dim;
        for (int64_t d = 0; d < dim; ++d) to[d] = above[d] * (sum[d] - row[d]);
      }
    }
  });
}

}  // namespace hvdrec
