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
// Numbers that one piece of work gathers: rows are anywhere in memory, so these take longer.
constexpr int64_t kGathered = 1 << 13;
// Rows that are prefetched before they are gathered, and the numbers of a cache line.
constexpr int64_t kAhead = 8;
constexpr int64_t kLine = 16;
// Squares are added up in float for this many rows.
constexpr int64_t kRowsInFloat = 128;
// Every piece of the backward pass reads all indices.
constexpr int64_t kMostPieces = 16;
// Lookups of which a piece lists its own before it adds them: a branch for each, which no processor
// can predict, would cost as much as adding it.
constexpr int64_t kListed = 512;

// These two are functions of their own without unrolling: the compiler vectorises the loops only
// where the pointers are parameters, and doesn't where it unrolls them before.
inline void CopyRow(int64_t dim, const float* __restrict from, float* __restrict to,
                    float* __restrict squares) {
#pragma GCC unroll 1
  for (int64_t d = 0; d < dim; ++d) {
    to[d] = from[d];
    squares[d] += from[d] * from[d];
  }
}

inline void AddRow(float squares, int64_t dim, const float* __restrict upstream,
                   const float* __restrict value, float* __restrict to) {
#pragma GCC unroll 1
  for (int64_t d = 0; d < dim; ++d) to[d] += upstream[d] + squares * value[d];
}

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
    if (at < 0 || at > lookup.touched) RefuseIndex(at, lookup.touched);
    if (at == 0) {
      std::fill_n(to, dim, 0.0F);
      continue;
    }
    CopyRow(dim, touched + (at - 1) * dim, to, squares);
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
  if (begin == 0 && end == lookup.touched) {
    for (int64_t n = 0; n < lookup.count; ++n) {
      const int64_t row = lookup.index[n] - 1;
      if (row >= 0) AddRow(squares, dim, upstream + n * dim, touched + row * dim, out + row * dim);
    }
    return;
  }
  const auto first = static_cast<uint32_t>(begin + 1), rows = static_cast<uint32_t>(end - begin);
  int32_t listed[kListed];
  for (int64_t from = 0; from < lookup.count; from += kListed) {
    const auto some = static_cast<int32_t>(std::min(kListed, lookup.count - from));
    const int32_t* const index = lookup.index + from;
    int32_t count = 0;
    for (int32_t n = 0; n < some; ++n) {
      listed[count] = n;
      count += static_cast<uint32_t>(index[n]) - first < rows;
    }
    for (int32_t i = 0; i < count; ++i) {
      const int64_t n = listed[i], row = index[n] - 1;
      AddRow(squares, dim, upstream + (from + n) * dim, touched + row * dim, out + row * dim);
    }
  }
}

}  // namespace

void RefuseIndex(int64_t index, int64_t touched) {
  throw std::invalid_argument("index " + std::to_string(index) + " of a lookup is not in 0.." +
                              std::to_string(touched));
}

void GatherRows(const float* table, int64_t size, int64_t dim, const int32_t* rows, int64_t count,
                float* out, const Parallel& parallel) {
  const int64_t some = std::max<int64_t>(1, kGathered / std::max<int64_t>(dim, 1));
  ForChunks(parallel, count, some, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto row = [&](int64_t n) -> const float* {
        if (rows[n] < 0 || rows[n] >= size) {
          throw std::invalid_argument("row " + std::to_string(rows[n]) + " is outside a table of " +
                                      std::to_string(size) + " rows");
        }
        return table + rows[n] * dim;
      };
      if (i + kAhead < end) {
        const float* const ahead = row(i + kAhead);
        for (int64_t d = 0; d < dim; d += kLine) __builtin_prefetch(ahead + d);
      }
      std::copy_n(row(i), dim, out + i * dim);
    }
  });
}

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
  // A row's sum is the same in any piece.
  const int64_t most = parallel.threads() == 1 ? 1 : kMostPieces;
  const int64_t pieces = std::clamp<int64_t>(lookup.count * lookup.dim / (2 * kNumbers), 1, most);
  const int64_t rows = std::max<int64_t>(1, ChunkCount(lookup.touched, pieces));
  ForChunks(parallel, lookup.touched, rows, [&](int64_t, int64_t begin, int64_t end) {
    WithWidth(lookup.dim, [&](auto width) {
      Add<width.value>(lookup, touched, upstream, squares, begin, end, out);
    });
  });
}

}  // namespace hvdrec
