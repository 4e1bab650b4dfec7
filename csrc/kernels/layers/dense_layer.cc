#include "kernels/layers/dense_layer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/base/matmul.h"

namespace hvdrec {
namespace {

// Rows that are processed together: their numbers stay in the cache, and a batch of a thousand has
// several such blocks for the threads.
constexpr int64_t kRows = 128;
// The kernel's gradient is computed in tiles of this many inputs and outputs.
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileOutputs = 128;

// Two numbers of each column for each block of rows.
class BlockSums {
 public:
  BlockSums(int64_t rows, int64_t columns)
      : columns_(columns), values_(static_cast<size_t>(2 * columns * ChunkCount(rows, kRows))) {}

  float* first(int64_t block) { return values_.data() + 2 * columns_ * block; }
  float* second(int64_t block) { return first(block) + columns_; }

 private:
  const int64_t columns_;
  std::vector<float> values_;
};

// Adds the bias to a block; returns each column's mean and sum of squared deviations from it.
void AddBias(const float* bias, int64_t rows, int64_t columns, float* __restrict block,
             float* __restrict mean, float* __restrict deviations) {
  std::fill_n(mean, columns, 0.0F);
  std::fill_n(deviations, columns, 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict row = block + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      row[c] += bias[c];
      mean[c] += row[c];
    }
  }
  const float share = 1.0F / static_cast<float>(rows);
  for (int64_t c = 0; c < columns; ++c) mean[c] *= share;
  for (int64_t r = 0; r < rows; ++r) {
    const float* __restrict row = block + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      const float deviation = row[c] - mean[c];
      deviations[c] += deviation * deviation;
    }
  }
}

// Mean and variance of all rows from those of the blocks (Chan, Golub and LeVeque, 1983).
void Merge(int64_t rows, int64_t columns, BlockSums* sums, float* mean, float* variance) {
  const int64_t blocks = ChunkCount(rows, kRows);
  for (int64_t c = 0; c < columns; ++c) {
    double center = 0;
    double deviations = 0;
    double seen = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const auto n = static_cast<double>(std::min(kRows, rows - b * kRows));
      const double step = sums->first(b)[c] - center;
      deviations += sums->second(b)[c] + step * step * seen * n / (seen + n);
      seen += n;
      center += step * n / seen;
    }
    mean[c] = static_cast<float>(center);
    variance[c] = rows > 0 ? static_cast<float>(deviations / seen) : 0.0F;
  }
}

// The factors of a normalised layer's columns.
std::vector<float> InverseDeviations(const DenseLayer& layer, const float* variance) {
  std::vector<float> inverse(static_cast<size_t>(layer.outputs));
  for (int64_t c = 0; c < layer.outputs; ++c) {
    inverse[c] = 1.0F / std::sqrt(variance[c] + layer.epsilon);
  }
  return inverse;
}

template <bool relu>
void Normalise(const float* __restrict linear, const float* __restrict mean,
               const float* __restrict scale, const float* __restrict beta, int64_t rows,
               int64_t columns, float* __restrict y) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float value = (linear[i] - mean[c]) * scale[c] + beta[c];
      y[i] = relu ? std::max(value, 0.0F) : value;
    }
  }
}

template <bool relu>
void AddBiasOnly(const float* __restrict bias, int64_t rows, int64_t columns, float* __restrict y) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float value = y[i] + bias[c];
      y[i] = relu ? std::max(value, 0.0F) : value;
    }
  }
}

// Column sums of g and g (linear - mean), g being the gradient before the ReLU.
template <bool relu>
void SumGradients(const float* __restrict upstream, const float* __restrict y,
                  const float* __restrict linear, const float* __restrict mean, int64_t rows,
                  int64_t columns, float* __restrict plain, float* __restrict centered) {
  std::fill_n(plain, columns, 0.0F);
  std::fill_n(centered, columns, 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float g = relu && !(y[i] > 0.0F) ? 0.0F : upstream[i];
      plain[c] += g;
      centered[c] += g * (linear[i] - mean[c]);
    }
  }
}

// The parts of the gradient of a normalised layer's `linear`.
struct NormGradient {
  std::vector<float> scale;  // gamma / deviation
  std::vector<float> plain;  // mean of g
  std::vector<float> slope;  // mean of g (linear - mean) / deviation^2
};

template <bool relu>
void NormBackward(const NormGradient& norm, const float* __restrict upstream,
                  const float* __restrict y, const float* __restrict linear,
                  const float* __restrict mean, int64_t rows, int64_t columns,
                  float* __restrict out) {
  const float* __restrict scale = norm.scale.data();
  const float* __restrict plain = norm.plain.data();
  const float* __restrict slope = norm.slope.data();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float g = relu && !(y[i] > 0.0F) ? 0.0F : upstream[i];
      out[i] = scale[c] * (g - plain[c] - (linear[i] - mean[c]) * slope[c]);
    }
  }
}

template <bool relu>
void PlainBackward(const float* __restrict upstream, const float* __restrict y, int64_t rows,
                   int64_t columns, float* __restrict out, float* __restrict sum) {
  std::fill_n(sum, columns, 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      out[i] = relu && !(y[i] > 0.0F) ? 0.0F : upstream[i];
      sum[c] += out[i];
    }
  }
}

// Gradients of gamma and beta, and the factors for that of `linear`.
template <bool relu>
NormGradient GammaBeta(const DenseLayer& layer, const float* upstream, const float* gamma,
                       const DenseKept& kept, const DenseGradients& out, const Parallel& parallel) {
  const int64_t columns = layer.outputs;
  BlockSums sums(layer.rows, columns);
  ForChunks(parallel, layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
    const int64_t at = begin * columns;
    SumGradients<relu>(upstream + at, kept.y + at, kept.linear + at, kept.mean, end - begin,
                       columns, sums.first(block), sums.second(block));
  });
  const std::vector<float> inverse = InverseDeviations(layer, kept.variance);
  const auto size = static_cast<size_t>(columns);
  NormGradient norm{std::vector<float>(size), std::vector<float>(size), std::vector<float>(size)};
  const double share = layer.rows > 0 ? 1.0 / static_cast<double>(layer.rows) : 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    double plain = 0;
    double centered = 0;
    for (int64_t b = 0; b < ChunkCount(layer.rows, kRows); ++b) {
      plain += sums.first(b)[c];
      centered += sums.second(b)[c];
    }
    out.beta[c] = static_cast<float>(plain);
    out.gamma[c] = static_cast<float>(centered * inverse[c]);
    norm.scale[c] = gamma[c] * inverse[c];
    norm.plain[c] = static_cast<float>(plain * share);
    norm.slope[c] = static_cast<float>(centered * inverse[c] * inverse[c] * share);
  }
  return norm;
}

void KernelGradient(const DenseLayer& layer, const float* x, const float* linear, float* out,
                    const Parallel& parallel) {
  const int64_t across = ChunkCount(layer.outputs, kTileOutputs);
  parallel.Run(ChunkCount(layer.inputs, kTileInputs) * across, [&](int64_t tile) {
    const int64_t i = tile / across * kTileInputs;
    const int64_t o = tile % across * kTileOutputs;
    const Matrix<float> a{x + i, layer.rows, std::min(kTileInputs, layer.inputs - i), layer.inputs};
    const Matrix<float> b{linear + o, layer.rows, std::min(kTileOutputs, layer.outputs - o),
                          layer.outputs};
    MatMulFirstTransposed(a, b, out + i * layer.outputs + o, layer.outputs);
  });
}

template <bool relu>
void Forward(const DenseLayer& layer, const float* x, const DenseWeights& weights,
             const DenseOutputs& out, const Parallel& parallel) {
  const int64_t columns = layer.outputs;
  const Matrix<float> kernel{weights.kernel, layer.inputs, columns, columns};
  float* const linear = layer.norm ? out.linear : out.y;
  BlockSums sums(layer.norm ? layer.rows : 0, columns);
  ForChunks(parallel, layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
    const Matrix<float> part{x + begin * layer.inputs, end - begin, layer.inputs, layer.inputs};
    float* const at = linear + begin * columns;
    MatMul(part, kernel, at, columns);
    if (layer.norm) {
      AddBias(weights.bias, end - begin, columns, at, sums.first(block), sums.second(block));
    } else {
      AddBiasOnly<relu>(weights.bias, end - begin, columns, at);
    }
  });
  if (!layer.norm) return;
  Merge(layer.rows, columns, &sums, out.mean, out.variance);
  std::vector<float> scale = InverseDeviations(layer, out.variance);
  for (int64_t c = 0; c < columns; ++c) scale[c] *= weights.gamma[c];
  ForChunks(parallel, layer.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
    Normalise<relu>(linear + begin * columns, out.mean, scale.data(), weights.beta, end - begin,
                    columns, out.y + begin * columns);
  });
}

template <bool relu>
void Backward(const DenseLayer& layer, const float* upstream, const float* x,
              const DenseWeights& weights, const DenseKept& kept, float* scratch,
              const DenseGradients& out, const Parallel& parallel) {
  const int64_t columns = layer.outputs;
  const Matrix<float> kernel{weights.kernel, layer.inputs, columns, columns};
  NormGradient norm;
  if (layer.norm) norm = GammaBeta<relu>(layer, upstream, weights.gamma, kept, out, parallel);
  BlockSums sums(layer.norm ? 0 : layer.rows, columns);
  ForChunks(parallel, layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
    const int64_t at = begin * columns;
    if (layer.norm) {
      NormBackward<relu>(norm, upstream + at, kept.y + at, kept.linear + at, kept.mean, end - begin,
                         columns, scratch + at);
    } else {
      PlainBackward<relu>(upstream + at, kept.y + at, end - begin, columns, scratch + at,
                          sums.first(block));
    }
    const Matrix<float> part{scratch + at, end - begin, columns, columns};
    MatMulSecondTransposed(part, kernel, out.x + begin * layer.inputs, layer.inputs);
  });
  for (int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (int64_t b = 0; !layer.norm && b < ChunkCount(layer.rows, kRows); ++b) {
      sum += sums.first(b)[c];
    }
    out.bias[c] = static_cast<float>(sum);
  }
  KernelGradient(layer, x, scratch, out.kernel, parallel);
}

}  // namespace

void DenseLayerForward(const DenseLayer& layer, const float* x, const DenseWeights& weights,
                       const DenseOutputs& out, const Parallel& parallel) {
  (layer.relu ? Forward<true> : Forward<false>)(layer, x, weights, out, parallel);
}

void DenseLayerBackward(const DenseLayer& layer, const float* upstream, const float* x,
                        const DenseWeights& weights, const DenseKept& kept, float* scratch,
                        const DenseGradients& out, const Parallel& parallel) {
  (layer.relu ? Backward<true> : Backward<false>)(layer, upstream, x, weights, kept, scratch, out,
                                                  parallel);
}

}  // namespace hvdrec
