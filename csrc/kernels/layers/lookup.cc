#include "kernels/layers/lookup.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/base/width.h"

namespace hvdrec {
namespace {

// Numbers that one piece of work copies or adds: enough to be worth another thread's start.
constexpr int64_t kNumbers = 1 << 15;
// Squares are added up in float for this many rows.
constexpr int64_t kRowsInFloat = 128;
// Every piece of the backward pass reads all indices.
constexpr int64_t kMostPieces = 16;

template <int64_t kDim>
double Copy(const Lookup& lookup, const float* __restrict touched, int64_t begin, int64_t end,
            float* __restrict out) {
  const int64_t dim = kDim == kAnyWidth ? lookup.dim : kDim;
  // One sum for each column, so that the additions vectorise in a fixed order.
  std::vector<float> sums(static_cast<size_t>(dim));
  float* const __restrict squares = sums.data();
  for (int64_t n = begin; n < end; ++n) {
    const int64_t at = lookup.index[n];
    float* const __restrict to = out + n * dim;
    if (at < 0 || at > lookup.touched) {
      throw std::invalid_argument("index " + std::to_string(at) + " of a lookup is not in 0.." +
                                  std::to_string(lookup.touched));
    }
    if (at == 0) {
      std::fill_n(to, dim, 0.0F);
      continue;
    }
    const float* const from = touched + (at - 1) * dim;
    for (int64_t d = 0; d < dim; ++d) {
      to[d] = from[d];
      squares[d] += from[d] * from[d];
    }
  }
  double total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

template <int64_t kDim>
void Add(const Lookup& lookup, const float* __restrict touched, const float* __restrict upstream,
         float squares, int64_t begin, int64_t end, float* __restrict out) {
  const int64_t dim = kDim == kAnyWidth ? lookup.dim : kDim;
  std::fill_n(out + begin * dim, (end - begin) * dim, 0.0F);
  for (int64_t n = 0; n < lookup.count; ++n) {
    const int64_t row = lookup.index[n] - 1;
    if (row < begin || row >= end) continue;
    const float* const __restrict from = upstream + n * dim;
    const float* const __restrict value = touched + row * dim;
    float* const __restrict to = out + row * dim;
    for (int64_t d = 0; d < dim; ++d) to[d] += from[d] + squares * value[d];
  }
}

}  // namespace

double LookupForward(const Lookup& lookup, const float* touched, float* out,
                     const Parallel& parallel) {
  const int64_t rows = std::max<int64_t>(1, kNumbers / std::max<int64_t>(lookup.dim, 1));
  std::vector<double> squares(static_cast<size_t>(ChunkCount(lookup.count, rows)));
  ForChunks(parallel, lookup.count, rows, [&](int64_t chunk, int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t at = begin; at < end; at += kRowsInFloat) {
      sum += WithWidth(lookup.dim, [&](auto width) {
        return Copy<width.value>(lookup, touched, at, std::min(at + kRowsInFloat, end), out);
      });
    }
    squares[static_cast<size_t>(chunk)] = sum;
  });
  double sum = 0;
  for (const double part : squares) sum += part;
  return 0.5 * sum;
}

void LookupBackward(const Lookup& lookup, const float* touched, const float* upstream,
                    float squares, float* out, const Parallel& parallel) {
  const int64_t pieces =
      std::clamp<int64_t>(lookup.count * lookup.dim / (2 * kNumbers), 1, kMostPieces);
  const int64_t rows = std::max<int64_t>(1, ChunkCount(lookup.touched, pieces));
  ForChunks(parallel, lookup.touched, rows, [&](int64_t, int64_t begin, int64_t end) {
    WithWidth(lookup.dim, [&](auto width) {
      Add<width.value>(lookup, touched, upstream, squares, begin, end, out);
    });
  });
}

}  // namespace hvdrec
