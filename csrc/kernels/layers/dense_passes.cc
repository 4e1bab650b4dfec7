#include "kernels/layers/dense_passes.h"

#include <algorithm>
#include <cmath>

namespace hvdrec {
namespace {

// How often rows count.
float Count(const float* weights, int64_t rows) {
  if (weights == nullptr) return static_cast<float>(rows);
  float count = 0;
  for (int64_t r = 0; r < rows; ++r) count += weights[r];
  return count;
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
  const int64_t blocks = ChunkCount(rows, kDenseRows);
  std::vector<double> counts;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = b * kDenseRows;
    counts.push_back(
        Count(weights == nullptr ? nullptr : weights + begin, std::min(kDenseRows, rows - begin)));
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
template void Normalise<true>(const float*, const float*, const float*, const float*, int64_t,
                              int64_t, float*);
template void Normalise<false>(const float*, const float*, const float*, const float*, int64_t,
                               int64_t, float*);

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
template void SumGradients<true>(const float*, const float*, const float*, const float*, int64_t,
                                 int64_t, float*, float*);
template void SumGradients<false>(const float*, const float*, const float*, const float*, int64_t,
                                  int64_t, float*, float*);

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
template void NormBackward<true, true>(const NormGradient&, const float*, const float*,
                                       const float*, const float*, const float*, int64_t, int64_t,
                                       float*);
template void NormBackward<true, false>(const NormGradient&, const float*, const float*,
                                        const float*, const float*, const float*, int64_t, int64_t,
                                        float*);
template void NormBackward<false, true>(const NormGradient&, const float*, const float*,
                                        const float*, const float*, const float*, int64_t, int64_t,
                                        float*);
template void NormBackward<false, false>(const NormGradient&, const float*, const float*,
                                         const float*, const float*, const float*, int64_t, int64_t,
                                         float*);

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
template void PlainBackward<true>(const float*, const float*, int64_t, int64_t, float*, float*);
template void PlainBackward<false>(const float*, const float*, int64_t, int64_t, float*, float*);

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
    for (int64_t b = 0; b < ChunkCount(layer.rows, kDenseRows); ++b) {
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
