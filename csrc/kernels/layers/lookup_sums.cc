#include "kernels/layers/lookup_sums.h"

#include <algorithm>
#include <vector>

#include "kernels/base/width.h"
#include "kernels/layers/lookup.h"

namespace hvdrec {
namespace {

// Numbers that one piece of work adds up or writes: enough to be worth another thread's start.
constexpr int64_t kNumbers = 1 << 15;
// Squares are added up in float for about this many embeddings.
constexpr int64_t kEmbeddingsInFloat = 128;
// Every piece of the backward pass reads all indices.
constexpr int64_t kMostPieces = 16;

// The sum, always of the same halves, so that it vectorises in a fixed order.
float Total(float* values, int64_t count) {
  for (; count > 1; count -= count / 2) {
    const int64_t half = count / 2;
    for (int64_t d = 0; d < half; ++d) values[d] += values[count - half + d];
  }
  return count > 0 ? values[0] : 0.0F;
}

// Writes the sums of rows [begin, end), and returns the sum of their squares.
template <int64_t kDim>
double Sum(const LookupSums& lookup, const float* __restrict touched, int64_t begin, int64_t end,
           float* __restrict out) {
  const int64_t dim = kDim == kAnyWidth ? lookup.dim : kDim;
  std::vector<float> scratch(static_cast<size_t>(2 * dim));
  float* const __restrict sums = scratch.data();
  float* const __restrict squares = sums + dim;
  for (int64_t b = begin; b < end; ++b) {
    std::fill_n(sums, dim, 0.0F);
    for (int64_t s = 0; s < lookup.columns; ++s) {
      const int64_t at = lookup.index[b * lookup.stride + s];
      if (at < 0 || at > lookup.touched) RefuseIndex(at, lookup.touched);
      if (at == 0) continue;
      const float* const from = touched + (at - 1) * dim;
      for (int64_t d = 0; d < dim; ++d) {
        sums[d] += from[d];
        squares[d] += from[d] * from[d];
      }
    }
    out[b] = Total(sums, dim);
  }
  double total = 0;
  for (int64_t d = 0; d < dim; ++d) total += squares[d];
  return total;
}

// Writes the gradients of touched rows [begin, end).
template <int64_t kDim>
void Spread(const LookupSums& lookup, const float* __restrict touched, const float* upstream,
            float squares, int64_t begin, int64_t end, float* __restrict out) {
  const int64_t dim = kDim == kAnyWidth ? lookup.dim : kDim;
  const auto size = static_cast<size_t>(end - begin);
  std::vector<float> sums(size), counts(size);
  for (int64_t b = 0; b < lookup.rows; ++b) {
    for (int64_t s = 0; s < lookup.columns; ++s) {
      const int64_t row = lookup.index[b * lookup.stride + s] - 1;
      if (row < begin || row >= end) continue;
      sums[static_cast<size_t>(row - begin)] += upstream[b];
      counts[static_cast<size_t>(row - begin)] += 1.0F;
    }
  }
  for (int64_t row = begin; row < end; ++row) {
    const auto at = static_cast<size_t>(row - begin);
    const float* const __restrict value = touched + row * dim;
    float* const __restrict to = out + row * dim;
    const float sum = sums[at], scale = counts[at] * squares;
    if (counts[at] == 0.0F) {
      std::fill_n(to, dim, 0.0F);
      continue;
    }
    for (int64_t d = 0; d < dim; ++d) to[d] = sum + scale * value[d];
  }
}

}  // namespace

double LookupSumsForward(const LookupSums& lookup, const float* touched, float* out,
                         const Parallel& parallel) {
  const int64_t columns = std::max<int64_t>(lookup.columns, 1);
  const int64_t rows =
      std::max<int64_t>(1, kNumbers / (columns * std::max<int64_t>(lookup.dim, 1)));
  const int64_t in_float = std::max<int64_t>(1, kEmbeddingsInFloat / columns);
  std::vector<double> squares(static_cast<size_t>(ChunkCount(lookup.rows, rows)));
  ForChunks(parallel, lookup.rows, rows, [&](int64_t chunk, int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t at = begin; at < end; at += in_float) {
      sum += WithWidth(lookup.dim, [&](auto width) {
        return Sum<width.value>(lookup, touched, at, std::min(at + in_float, end), out);
      });
    }
    squares[static_cast<size_t>(chunk)] = sum;
  });
  double sum = 0;
  for (const double part : squares) sum += part;
  return 0.5 * sum;
}

void LookupSumsBackward(const LookupSums& lookup, const float* touched, const float* upstream,
                        float squares, float* out, const Parallel& parallel) {
  const int64_t pieces =
      std::clamp<int64_t>(lookup.touched * lookup.dim / (2 * kNumbers), 1, kMostPieces);
  const int64_t rows = std::max<int64_t>(1, ChunkCount(lookup.touched, pieces));
  ForChunks(parallel, lookup.touched, rows, [&](int64_t, int64_t begin, int64_t end) {
    WithWidth(lookup.dim, [&](auto width) {
      Spread<width.value>(lookup, touched, upstream, squares, begin, end, out);
    });
  });
}

}  // namespace hvdrec
