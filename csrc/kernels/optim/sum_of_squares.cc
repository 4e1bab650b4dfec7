#include "kernels/optim/sum_of_squares.h"

#include <vector>

namespace hvdrec {
namespace {

constexpr int64_t kChunk = 1 << 15;
// Independent sums, so that the additions vectorise in a fixed order.
constexpr int64_t kLanes = 16;

template <typename T>
double SumOfChunk(const T* values, int64_t n) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) {
      const double value = values[i + k];
      lanes[k] += value * value;
    }
  }
  for (; i < n; ++i) lanes[i % kLanes] += static_cast<double>(values[i]) * values[i];
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

template <typename T>
double SumOfSquares(const T* values, int64_t n, const Parallel& parallel) {
  std::vector<double> sums(static_cast<size_t>(ChunkCount(n, kChunk)));
  ForChunks(parallel, n, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    sums[static_cast<size_t>(chunk)] = SumOfChunk(values + begin, end - begin);
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

template double SumOfSquares<float>(const float*, int64_t, const Parallel&);
template double SumOfSquares<double>(const double*, int64_t, const Parallel&);

}  // namespace hvdrec
