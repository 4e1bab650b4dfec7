#include "kernels/layers/dense_layer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "kernels/base/phases.h"
#include "kernels/base/scratch.h"
#include "kernels/layers/amx_product.h"
#include "kernels/layers/panels.h"

namespace hvdrec {
namespace {

// Rows that are processed together: their numbers stay in the cache, and a batch of a thousand has
// several such blocks for the threads.
constexpr int64_t kRows = 128;
// The kernel's gradient is computed in tiles of this many inputs and outputs.
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileOutputs = 64;

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

// How often rows count.
float Count(const float* weights, int64_t rows) {
  if (weights == nullptr) return static_cast<float>(rows);
  float count = 0;
  for (int64_t r = 0; r < rows; ++r) count += weights[r];
  return count;
}

// Adds the bias to a block; returns each column's mean and sum of squared deviations from it.
template <bool weighted>
void AddBias(const float* bias, const float* weights, int64_t rows, int64_t columns,
             float* __restrict block, float* __restrict mean, float* __restrict deviations) {
  std::fill_n(mean, columns, 0.0F);
  std::fill_n(deviations, columns, 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict row = block + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      row[c] += bias[c];
      mean[c] += weighted ? weights[r] * row[c] : row[c];
    }
  }
  const float count = Count(weights, rows);
  const float share = count > 0.0F ? 1.0F / count : 0.0F;
  for (int64_t c = 0; c < columns; ++c) mean[c] *= share;
  for (int64_t r = 0; r < rows; ++r) {
    const float* __restrict row = block + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      const float deviation = row[c] - mean[c];
      deviations[c] += weighted ? weights[r] * deviation * deviation : deviation * deviation;
    }
  }
}

// Mean and variance of all rows from those of the blocks (Chan, Golub and LeVeque, 1983).
void Merge(const float* weights, int64_t rows, int64_t columns, BlockSums* sums, float* mean,
           float* variance) {
  const int64_t blocks = ChunkCount(rows, kRows);
  std::vector<double> counts;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = b * kRows;
    counts.push_back(
        Count(weights == nullptr ? nullptr : weights + begin, std::min(kRows, rows - begin)));
  }
  for (int64_t c = 0; c < columns; ++c) {
    double center = 0;
    double deviations = 0;
    double seen = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const double n = counts[b];
      if (n == 0) continue;
      const double step = sums->first(b)[c] - center;
      deviations += sums->second(b)[c] + step * step * seen * n / (seen + n);
      seen += n;
      center += step * n / seen;
    }
    mean[c] = static_cast<float>(center);
    variance[c] = seen > 0 ? static_cast<float>(deviations / seen) : 0.0F;
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

template <bool relu, bool weighted>
void NormBackward(const NormGradient& norm, const float* __restrict upstream,
                  const float* __restrict y, const float* __restrict linear,
                  const float* __restrict mean, const float* weights, int64_t rows, int64_t columns,
                  float* __restrict out) {
  const float* __restrict scale = norm.scale.data();
  const float* __restrict plain = norm.plain.data();
  const float* __restrict slope = norm.slope.data();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float g = relu && !(y[i] > 0.0F) ? 0.0F : upstream[i];
      if (weighted) {
        out[i] = scale[c] * (g - weights[r] * (plain[c] + (linear[i] - mean[c]) * slope[c]));
      } else {
        out[i] = scale[c] * (g - plain[c] - (linear[i] - mean[c]) * slope[c]);
      }
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

// Gradients of gamma and beta, and the factors for that of `linear`, from the sums of the blocks.
NormGradient GammaBeta(const DenseLayer& layer, const float* weights, const float* gamma,
                       const DenseKept& kept, BlockSums* sums, const DenseGradients& out) {
  const int64_t columns = layer.outputs;
  const std::vector<float> inverse = InverseDeviations(layer, kept.variance);
  const auto size = static_cast<size_t>(columns);
  NormGradient norm{std::vector<float>(size), std::vector<float>(size), std::vector<float>(size)};
  double count = weights == nullptr ? static_cast<double>(layer.rows) : 0.0;
  for (int64_t r = 0; weights != nullptr && r < layer.rows; ++r) count += weights[r];
  const double share = count > 0 ? 1.0 / count : 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    double plain = 0;
    double centered = 0;
    for (int64_t b = 0; b < ChunkCount(layer.rows, kRows); ++b) {
      plain += sums->first(b)[c];
      centered += sums->second(b)[c];
    }
    out.beta[c] = static_cast<float>(plain);
    out.gamma[c] = static_cast<float>(centered * inverse[c]);
    norm.scale[c] = gamma[c] * inverse[c];
    norm.plain[c] = static_cast<float>(plain * share);
    norm.slope[c] = static_cast<float>(centered * inverse[c] * inverse[c] * share);
  }
  return norm;
}

// The gradient of the bias from the blocks' sums, or zeros with a norm.
void BiasGradient(const DenseLayer& layer, BlockSums* sums, float* out) {
  for (int64_t c = 0; c < layer.outputs; ++c) {
    double sum = 0;
    for (int64_t b = 0; !layer.norm && b < ChunkCount(layer.rows, kRows); ++b) {
      sum += sums->first(b)[c];
    }
    out[c] = static_cast<float>(sum);
  }
}

int64_t KernelTiles(const DenseLayer& layer) {
  return ChunkCount(layer.inputs, kTileInputs) * ChunkCount(layer.outputs, kTileOutputs);
}

void KernelGradient(const DenseLayer& layer, const float* x, const float* linear, int64_t tile,
                    float* out) {
  const int64_t across = ChunkCount(layer.outputs, kTileOutputs);
  const int64_t i = tile / across * kTileInputs;
  const int64_t o = tile % across * kTileOutputs;
  const int64_t inputs = std::min(kTileInputs, layer.inputs - i);
  const int64_t outputs = std::min(kTileOutputs, layer.outputs - o);
  for (int64_t row = 0; row < layer.rows; row += kRows) {
    // A few rows at a time, so that their panel stays in the first cache.
    Panels panels(std::min(kRows, layer.rows - row), outputs, false);
    for (int64_t p = 0; p < panels.count(); ++p) {
      panels.Pack(p, linear + row * layer.outputs + o, layer.outputs);
    }
    panels.MultiplyTransposed(x + row * layer.inputs + i, inputs, layer.inputs, row > 0,
                              out + i * layer.outputs + o, layer.outputs);
  }
  if (layer.rows == 0) {
    for (int64_t r = 0; r < inputs; ++r) {
      std::fill_n(out + (i + r) * layer.outputs + o, outputs, 0.0F);
    }
  }
}

#if HVDREC_AMX

// The same on AMX. Splitting numbers takes time, so the tiles are larger; for more pieces, rows are
// divided into groups, whose sums are added at the end.
class SplitKernelGradient {
 public:
  explicit SplitKernelGradient(const DenseLayer& layer)
      : layer_(layer),
        across_(ChunkCount(layer.outputs, kTile)),
        tiles_(across_ * ChunkCount(layer.inputs, kTile)) {
    const int64_t groups = std::max<int64_t>(1, kPieces / tiles_);
    group_rows_ = kRows * ChunkCount(ChunkCount(layer.rows, kRows), groups);
    groups_ = ChunkCount(layer.rows, group_rows_);
    sums_.resize(static_cast<size_t>((groups_ - 1) * layer.inputs * layer.outputs));
  }

  int64_t pieces() const { return groups_ * tiles_; }

  void Add(int64_t piece, const float* x, const float* linear, float* out) {
    const int64_t group = piece / tiles_;
    const int64_t i = piece % tiles_ / across_ * kTile;
    const int64_t o = piece % tiles_ % across_ * kTile;
    const int64_t inputs = std::min(kTile, layer_.inputs - i);
    const int64_t outputs = std::min(kTile, layer_.outputs - o);
    const int64_t begin = group * group_rows_;
    const int64_t end = std::min(begin + group_rows_, layer_.rows);
    float* const to = Sums(group, out) + i * layer_.outputs + o;
    for (int64_t row = begin; row < end; row += kRows) {
      const int64_t rows = std::min(kRows, end - row);
      AmxMultiplyTransposed({x + row * layer_.inputs + i, rows, inputs, layer_.inputs},
                            {linear + row * layer_.outputs + o, rows, outputs, layer_.outputs},
                            row > begin, to, layer_.outputs);
    }
  }

  // Adds the groups' sums from `begin` to `end`.
  void Finish(int64_t begin, int64_t end, float* out) {
    for (int64_t group = 1; group < groups_; ++group) {
      const float* const sums = Sums(group, out);
      for (int64_t i = begin; i < end; ++i) out[i] += sums[i];
    }
  }

 private:
  static constexpr int64_t kTile = 256;
  static constexpr int64_t kPieces = 16;

  float* Sums(int64_t group, float* out) {
    return group == 0 ? out : sums_.data() + (group - 1) * layer_.inputs * layer_.outputs;
  }

  const DenseLayer layer_;
  const int64_t across_;
  const int64_t tiles_;
  int64_t group_rows_;
  int64_t groups_;
  Scratch<float> sums_;
};

#endif

// Adds the phases for the kernel's gradient.
void AddKernelGradient(const DenseLayer& layer, const float* x, const float* linear, float* out,
                       Phases* phases) {
#if HVDREC_AMX
  if (layer.rows > 0 && AmxMultipliesTransposedFaster(layer.inputs, layer.outputs) && HasAmx()) {
    const auto gradient = std::make_shared<SplitKernelGradient>(layer);
    phases->Add(gradient->pieces(), [=](int64_t piece) { gradient->Add(piece, x, linear, out); });
    constexpr int64_t kNumbers = 4096;
    phases->AddChunks(
        layer.inputs * layer.outputs, kNumbers,
        [=](int64_t, int64_t begin, int64_t end) { gradient->Finish(begin, end, out); });
    return;
  }
#endif
  phases->Add(KernelTiles(layer),
              [=](int64_t tile) { KernelGradient(layer, x, linear, tile, out); });
}

template <bool relu>
void Forward(const DenseLayer& layer, const DenseRows& rows, const DenseWeights& weights,
             const DenseOutputs& out, const Parallel& parallel) {
  const int64_t columns = layer.outputs;
  Panels kernel(layer.inputs, layer.multiplies ? columns : 0,
                layer.multiplies && Panels::SplitsBest(layer.inputs, columns));
  float* const linear = layer.norm ? out.linear : out.y;
  const auto add_bias = rows.weights != nullptr ? AddBias<true> : AddBias<false>;
  BlockSums sums(layer.norm ? layer.rows : 0, columns);
  std::vector<float> scale;
  Phases phases;
  phases.Add(kernel.count(), [&](int64_t panel) { kernel.Pack(panel, weights.kernel, columns); });
  phases.AddChunks(layer.rows, kRows, [&, linear](int64_t block, int64_t begin, int64_t end) {
    float* const at = linear + begin * columns;
    const float* const x = rows.x + begin * layer.inputs;
    if (layer.multiplies) {
      kernel.Multiply(x, end - begin, at);
    } else {
      std::copy_n(x, (end - begin) * columns, at);
    }
    if (layer.norm) {
      add_bias(weights.bias, rows.weights == nullptr ? nullptr : rows.weights + begin, end - begin,
               columns, at, sums.first(block), sums.second(block));
    } else {
      AddBiasOnly<relu>(weights.bias, end - begin, columns, at);
    }
  });
  if (layer.norm) {
    phases.Add(1, [&](int64_t) {
      Merge(rows.weights, layer.rows, columns, &sums, out.mean, out.variance);
      scale = InverseDeviations(layer, out.variance);
      for (int64_t c = 0; c < columns; ++c) scale[c] *= weights.gamma[c];
    });
    phases.AddChunks(layer.rows, kRows, [&, linear](int64_t, int64_t begin, int64_t end) {
      Normalise<relu>(linear + begin * columns, out.mean, scale.data(), weights.beta, end - begin,
                      columns, out.y + begin * columns);
    });
  }
  phases.Run(parallel);
}

template <bool relu>
void Backward(const DenseLayer& layer, const float* upstream, const DenseRows& rows,
              const DenseWeights& weights, const DenseKept& kept, float* scratch,
              const DenseGradients& out, const Parallel& parallel) {
  const int64_t columns = layer.outputs;
  Panels kernel(columns, layer.multiplies ? layer.inputs : 0,
                layer.multiplies && Panels::SplitsBest(columns, layer.inputs));
  float* const linear = layer.multiplies ? scratch : out.x;
  const auto norm_backward =
      rows.weights != nullptr ? NormBackward<relu, true> : NormBackward<relu, false>;
  NormGradient norm;
  BlockSums sums(layer.rows, columns);
  Phases phases;
  phases.Add(kernel.count(),
             [&](int64_t panel) { kernel.PackTransposed(panel, weights.kernel, columns); });
  if (layer.norm) {
    phases.AddChunks(layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
      const int64_t at = begin * columns;
      SumGradients<relu>(upstream + at, kept.y + at, kept.linear + at, kept.mean, end - begin,
                         columns, sums.first(block), sums.second(block));
    });
    phases.Add(1, [&](int64_t) {
      norm = GammaBeta(layer, rows.weights, weights.gamma, kept, &sums, out);
    });
  }
  phases.AddChunks(layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
    const int64_t at = begin * columns;
    if (layer.norm) {
      norm_backward(norm, upstream + at, kept.y + at, kept.linear + at, kept.mean,
                    rows.weights == nullptr ? nullptr : rows.weights + begin, end - begin, columns,
                    linear + at);
    } else {
      PlainBackward<relu>(upstream + at, kept.y + at, end - begin, columns, linear + at,
                          sums.first(block));
    }
    if (layer.multiplies) {
      kernel.Multiply(linear + at, end - begin, out.x + begin * layer.inputs);
    }
  });
  if (layer.multiplies) AddKernelGradient(layer, rows.x, linear, out.kernel, &phases);
  phases.Run(parallel);
  BiasGradient(layer, &sums, out.bias);
}

}  // namespace

void DenseLayerForward(const DenseLayer& layer, const DenseRows& rows, const DenseWeights& weights,
                       const DenseOutputs& out, const Parallel& parallel) {
  (layer.relu ? Forward<true> : Forward<false>)(layer, rows, weights, out, parallel);
}

void DenseLayerBackward(const DenseLayer& layer, const float* upstream, const DenseRows& rows,
                        const DenseWeights& weights, const DenseKept& kept, float* scratch,
                        const DenseGradients& out, const Parallel& parallel) {
  (layer.relu ? Backward<true> : Backward<false>)(layer, upstream, rows, weights, kept, scratch,
                                                  out, parallel);
}

}  // namespace hvdrec
