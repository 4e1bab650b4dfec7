#include "kernels/layers/dense_passes.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace hvdrec {
namespace {

// Rows that a loop over sums of columns takes at a time: it reads and writes the sums once for all
// of them.
constexpr int kTogether = 4;

// Calls body(rows, row) for groups of rows, with a constant.
template <typename Body>
void ForRows(int64_t rows, const Body& body) {
  int64_t r = 0;
  for (; r + kTogether <= rows; r += kTogether) {
    body(std::integral_constant<int, kTogether>(), r);
  }
  for (; r < rows; ++r) body(std::integral_constant<int, 1>(), r);
}

// How often rows count.
float Count(const float* weights, int64_t rows) {
  if (weights == nullptr) return static_cast<float>(rows);
  float count = 0;
  for (int64_t r = 0; r < rows; ++r) count += weights[r];
  return count;
}

// The gradient before the ReLU, from that after it, of a number that is `centered` above the mean.
template <bool relu>
inline float Passed(float upstream, float centered, float scale, float beta) {
  return relu && !(centered * scale + beta > 0.0F) ? 0.0F : upstream;
}

template <bool relu, int rows>
inline void SumGradientRows(const NormColumns& norm, const float* __restrict upstream,
                            const float* __restrict linear, int64_t columns,
                            float* __restrict plain, float* __restrict centered) {
  const float* __restrict mean = norm.mean;
  const float* __restrict scale = norm.scale;
  const float* __restrict beta = norm.beta;
  for (int64_t c = 0; c < columns; ++c) {
    float sum = 0;
    float product = 0;
    for (int r = 0; r < rows; ++r) {
      const float away = linear[r * columns + c] - mean[c];
      const float g = Passed<relu>(upstream[r * columns + c], away, scale[c], beta[c]);
      sum += g;
      product += g * away;
    }
    plain[c] += sum;
    centered[c] += product;
  }
}

template <bool relu, int rows>
inline void PlainBackwardRows(const float* upstream, const float* __restrict y, int64_t columns,
                              float* out, float* __restrict sums) {
#pragma GCC ivdep  // as in NormBackward
  for (int64_t c = 0; c < columns; ++c) {
    float sum = 0;
    for (int r = 0; r < rows; ++r) {
      const int64_t i = r * columns + c;
      const float g = relu && !(y[i] > 0.0F) ? 0.0F : upstream[i];
      out[i] = g;
      sum += g;
    }
    sums[c] += sum;
  }
}

}  // namespace

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
template void AddBias<true>(const float*, const float*, int64_t, int64_t, float*, float*, float*);
template void AddBias<false>(const float*, const float*, int64_t, int64_t, float*, float*, float*);

void Merge(const float* weights, int64_t rows, int64_t columns, BlockSums* sums, float* mean,
           float* variance) {
  std::vector<double> centers(static_cast<size_t>(columns));
  std::vector<double> deviations(static_cast<size_t>(columns));
  double seen = 0;
  for (int64_t b = 0; b < ChunkCount(rows, kDenseRows); ++b) {
    const int64_t begin = b * kDenseRows;
    const double n =
        Count(weights == nullptr ? nullptr : weights + begin, std::min(kDenseRows, rows - begin));
    if (n == 0) continue;
    const double share = n / (seen + n);
    const double factor = seen * share;
    const float* const first = sums->first(b);
    const float* const second = sums->second(b);
    for (int64_t c = 0; c < columns; ++c) {
      const double step = first[c] - centers[c];
      deviations[c] += second[c] + step * step * factor;
      centers[c] += step * share;
    }
    seen += n;
  }
  const double share = seen > 0 ? 1 / seen : 0;
  for (int64_t c = 0; c < columns; ++c) {
    mean[c] = static_cast<float>(centers[c]);
    variance[c] = static_cast<float>(deviations[c] * share);
  }
}

std::vector<float> NormScale(const DenseLayer& layer, const float* gamma, const float* variance) {
  std::vector<float> scale(static_cast<size_t>(layer.outputs));
  for (int64_t c = 0; c < layer.outputs; ++c) {
    scale[c] = 1.0F / std::sqrt(variance[c] + layer.epsilon) * gamma[c];
  }
  return scale;
}

template <bool relu>
void Normalise(const NormColumns& norm, const float* __restrict linear, int64_t rows,
               int64_t columns, float* __restrict y) {
  const float* __restrict mean = norm.mean;
  const float* __restrict scale = norm.scale;
  const float* __restrict beta = norm.beta;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float value = (linear[i] - mean[c]) * scale[c] + beta[c];
      y[i] = relu ? std::max(value, 0.0F) : value;
    }
  }
}
template void Normalise<true>(const NormColumns&, const float*, int64_t, int64_t, float*);
template void Normalise<false>(const NormColumns&, const float*, int64_t, int64_t, float*);

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
template void AddBiasOnly<true>(const float*, int64_t, int64_t, float*);
template void AddBiasOnly<false>(const float*, int64_t, int64_t, float*);

template <bool relu>
void SumGradients(const NormColumns& norm, const float* upstream, const float* linear, int64_t rows,
                  int64_t columns, float* plain, float* centered) {
  std::fill_n(plain, columns, 0.0F);
  std::fill_n(centered, columns, 0.0F);
  ForRows(rows, [&](auto n, int64_t r) {
    SumGradientRows<relu, n>(norm, upstream + r * columns, linear + r * columns, columns, plain,
                             centered);
  });
}
template void SumGradients<true>(const NormColumns&, const float*, const float*, int64_t, int64_t,
                                 float*, float*);
template void SumGradients<false>(const NormColumns&, const float*, const float*, int64_t, int64_t,
                                  float*, float*);

template <bool relu, bool weighted>
void NormBackward(const NormColumns& norm, const NormGradient& gradient, const float* upstream,
                  const float* __restrict linear, const float* __restrict weights, int64_t rows,
                  int64_t columns, float* out) {
  const float* __restrict mean = norm.mean;
  const float* __restrict scale = norm.scale;
  const float* __restrict beta = norm.beta;
  const float* __restrict plain = gradient.plain.data();
  const float* __restrict slope = gradient.slope.data();
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC ivdep  // where `out` is `upstream`, a number depends on itself only
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = r * columns + c;
      const float away = linear[i] - mean[c];
      const float g = Passed<relu>(upstream[i], away, scale[c], beta[c]);
      if (weighted) {
        out[i] = scale[c] * (g - weights[r] * (plain[c] + away * slope[c]));
      } else {
        out[i] = scale[c] * (g - plain[c] - away * slope[c]);
      }
    }
  }
}
template void NormBackward<true, true>(const NormColumns&, const NormGradient&, const float*,
                                       const float*, const float*, int64_t, int64_t, float*);
template void NormBackward<true, false>(const NormColumns&, const NormGradient&, const float*,
                                        const float*, const float*, int64_t, int64_t, float*);
template void NormBackward<false, true>(const NormColumns&, const NormGradient&, const float*,
                                        const float*, const float*, int64_t, int64_t, float*);
template void NormBackward<false, false>(const NormColumns&, const NormGradient&, const float*,
                                         const float*, const float*, int64_t, int64_t, float*);

template <bool relu>
void PlainBackward(const float* upstream, const float* y, int64_t rows, int64_t columns, float* out,
                   float* sum) {
  std::fill_n(sum, columns, 0.0F);
  ForRows(rows, [&](auto n, int64_t r) {
    PlainBackwardRows<relu, n>(upstream + r * columns, y + r * columns, columns, out + r * columns,
                               sum);
  });
}
template void PlainBackward<true>(const float*, const float*, int64_t, int64_t, float*, float*);
template void PlainBackward<false>(const float*, const float*, int64_t, int64_t, float*, float*);

NormGradient GammaBeta(const DenseLayer& layer, const float* weights, const DenseKept& kept,
                       BlockSums* sums, const DenseGradients& out) {
  const int64_t columns = layer.outputs;
  const auto size = static_cast<size_t>(columns);
  NormGradient gradient{std::vector<float>(size), std::vector<float>(size)};
  double count = weights == nullptr ? static_cast<double>(layer.rows) : 0.0;
  for (int64_t r = 0; weights != nullptr && r < layer.rows; ++r) count += weights[r];
  const double share = count > 0 ? 1.0 / count : 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    const float inverse = 1.0F / std::sqrt(kept.variance[c] + layer.epsilon);
    double plain = 0;
    double centered = 0;
    for (int64_t b = 0; b < ChunkCount(layer.rows, kDenseRows); ++b) {
      plain += sums->first(b)[c];
      centered += sums->second(b)[c];
    }
    out.beta[c] = static_cast<float>(plain);
    out.gamma[c] = static_cast<float>(centered * inverse);
    gradient.plain[c] = static_cast<float>(plain * share);
    gradient.slope[c] = static_cast<float>(centered * inverse * inverse * share);
  }
  return gradient;
}

void BiasGradient(const DenseLayer& layer, BlockSums* sums, float* out) {
  for (int64_t c = 0; c < layer.outputs; ++c) {
    double sum = 0;
    for (int64_t b = 0; !layer.norm && b < ChunkCount(layer.rows, kDenseRows); ++b) {
      sum += sums->first(b)[c];
    }
    out[c] = static_cast<float>(sum);
  }
}

}  // namespace hvdrec
