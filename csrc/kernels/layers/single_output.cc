#include "kernels/layers/single_output.h"

#include <algorithm>

#include "kernels/base/row_math.h"
#include "kernels/base/scratch.h"

namespace hvdrec {
namespace {

// Numbers of x that are one piece of work: enough to be worth another thread's start.
constexpr int64_t kNumbers = 1 << 15;

int64_t RowsAtOnce(const SingleOutput& layer) {
  return std::max<int64_t>(1, kNumbers / std::max<int64_t>(layer.inputs, 1));
}

// The gradient of a row of x, and its part of the kernel's.
inline void Row(float g, int64_t inputs, const float* __restrict x, const float* __restrict kernel,
                float* __restrict by_x, float* __restrict by_kernel) {
  for (int64_t k = 0; k < inputs; ++k) {
    by_x[k] = g * kernel[k];
    by_kernel[k] += g * x[k];
  }
}

}  // namespace

void SingleOutputForward(const SingleOutput& layer, const float* x, const float* kernel, float bias,
                         float* y, const Parallel& parallel) {
  ForChunks(parallel, layer.rows, RowsAtOnce(layer), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float sum = Dot(x + r * layer.inputs, kernel, layer.inputs) + bias;
      // NaN stays NaN.
      y[r] = layer.relu && sum <= 0.0F ? 0.0F : sum;
    }
  });
}

void SingleOutputBackward(const SingleOutput& layer, const float* upstream, const float* x,
                          const float* kernel, const float* y, const SingleOutputGradients& out,
                          const Parallel& parallel) {
  const int64_t rows = RowsAtOnce(layer), width = layer.inputs + 1;
  const int64_t chunks = ChunkCount(layer.rows, rows);
  // Of each chunk, the sums for the kernel and the bias.
  Scratch<float> parts(static_cast<size_t>(chunks * width));
  ForChunks(parallel, layer.rows, rows, [&](int64_t chunk, int64_t begin, int64_t end) {
    float* const own = parts.data() + chunk * width;
    std::fill_n(own, width, 0.0F);
    for (int64_t r = begin; r < end; ++r) {
      const float g = layer.relu && !(y[r] > 0.0F) ? 0.0F : upstream[r];
      Row(g, layer.inputs, x + r * layer.inputs, kernel, out.x + r * layer.inputs, own);
      own[layer.inputs] += g;
    }
  });
  std::fill_n(out.kernel, layer.inputs, 0.0F);
  *out.bias = 0.0F;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const float* const own = parts.data() + chunk * width;
    AddRow(own, layer.inputs, out.kernel);
    *out.bias += own[layer.inputs];
  }
}

}  // namespace hvdrec
