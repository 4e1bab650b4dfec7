#include "kernels/layers/pair_products.h"

#include <algorithm>
#include <vector>

#include "kernels/base/width.h"

namespace hvdrec {
namespace {

constexpr int64_t kNumbers = 1 << 15;

int64_t RowsAtOnce(const FieldShape& shape) {
  return std::max<int64_t>(1, kNumbers / std::max<int64_t>(shape.fields * shape.dim, 1));
}

// Functions of their own, because the compiler vectorises the loops only where the pointers are
// parameters; and it doesn't vectorise those that add where it unrolls them before.
inline void AddField(int64_t dim, const float* __restrict x, float* __restrict sum) {
#pragma GCC unroll 1
  for (int64_t d = 0; d < dim; ++d) sum[d] += x[d];
}

inline void AddField(int64_t dim, const float* __restrict x, float* __restrict sum,
                     float* __restrict squares) {
#pragma GCC unroll 1
  for (int64_t d = 0; d < dim; ++d) {
    sum[d] += x[d];
    squares[d] += x[d] * x[d];
  }
}

inline void Products(int64_t dim, const float* __restrict sum, const float* __restrict squares,
                     float* __restrict out) {
  for (int64_t d = 0; d < dim; ++d) out[d] = 0.5F * (sum[d] * sum[d] - squares[d]);
}

// `out` may be `other`.
inline void Gradient(int64_t dim, const float* __restrict upstream, const float* __restrict sum,
                     const float* __restrict x, const float* other, float* out) {
#pragma GCC ivdep
  for (int64_t d = 0; d < dim; ++d) out[d] = upstream[d] * (sum[d] - x[d]) + other[d];
}

inline void Gradient(int64_t dim, const float* __restrict upstream, const float* __restrict sum,
                     const float* __restrict x, float* __restrict out) {
  for (int64_t d = 0; d < dim; ++d) out[d] = upstream[d] * (sum[d] - x[d]);
}

// Calls piece(dim, begin, end) for some rows at a time.
template <typename Piece>
void ForRows(const FieldShape& shape, const Parallel& parallel, const Piece& piece) {
  WithWidth(shape.dim, [&](auto width) {
    const int64_t dim = width == kAnyWidth ? shape.dim : width;
    ForChunks(parallel, shape.rows, RowsAtOnce(shape),
              [&, dim](int64_t, int64_t begin, int64_t end) { piece(dim, begin, end); });
  });
}

}  // namespace

void PairProducts(const FieldShape& shape, const float* x, float* out, const Parallel& parallel) {
  ForRows(shape, parallel, [&](int64_t dim, int64_t begin, int64_t end) {
    std::vector<float> sums(static_cast<size_t>(2 * dim));
    float *const sum = sums.data(), *const squares = sum + dim;
    for (int64_t b = begin; b < end; ++b) {
      std::fill(sums.begin(), sums.end(), 0.0F);
      const float* const row = x + b * shape.fields * dim;
      for (int64_t f = 0; f < shape.fields; ++f) AddField(dim, row + f * dim, sum, squares);
      Products(dim, sum, squares, out + b * dim);
    }
  });
}

void PairProductsBackward(const FieldShape& shape, const float* x, const float* upstream,
                          const float* other, float* out, const Parallel& parallel) {
  ForRows(shape, parallel, [&](int64_t dim, int64_t begin, int64_t end) {
    std::vector<float> sum(static_cast<size_t>(dim));
    for (int64_t b = begin; b < end; ++b) {
      std::fill(sum.begin(), sum.end(), 0.0F);
      const int64_t at = b * shape.fields * dim;
      for (int64_t f = 0; f < shape.fields; ++f) AddField(dim, x + at + f * dim, sum.data());
      for (int64_t f = 0; f < shape.fields; ++f) {
        const int64_t field = at + f * dim;
        if (other == nullptr) {
          Gradient(dim, upstream + b * dim, sum.data(), x + field, out + field);
        } else {
          Gradient(dim, upstream + b * dim, sum.data(), x + field, other + field, out + field);
        }
      }
    }
  });
}

}  // namespace hvdrec
