// What a dense layer (dense_layer.h) does with a block of its rows apart from products.

#ifndef HVDREC_KERNELS_LAYERS_DENSE_PASSES_H_
#define HVDREC_KERNELS_LAYERS_DENSE_PASSES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/layers/dense_layer.h"

namespace hvdrec {

// Rows that are processed together: their numbers stay in the cache, and a batch of a thousand has
// several such blocks for the threads.
constexpr int64_t kDenseRows = 128;

// Two numbers of each column for each block of rows.
class BlockSums {
 public:
  BlockSums(int64_t rows, int64_t columns)
      : columns_(columns),
        values_(static_cast<size_t>(2 * columns * ChunkCount(rows, kDenseRows))) {}

  float* first(int64_t block) { return values_.data() + 2 * columns_ * block; }
  float* second(int64_t block) { return first(block) + columns_; }

 private:
  const int64_t columns_;
  std::vector<float> values_;
};

// Adds the bias to a block; returns each column's mean and sum of squared deviations from it.
template <bool weighted>
void AddBias(const float* bias, const float* weights, int64_t rows, int64_t columns, float* block,
             float* mean, float* deviations);

// Mean and variance of all rows from those of the blocks (Chan, Golub and LeVeque, 1983).
void Merge(const float* weights, int64_t rows, int64_t columns, BlockSums* sums, float* mean,
           float* variance);

// What a norm does to each column: (linear - mean) scale + beta.
struct NormColumns {
  const float* mean;
  const float* scale;
  const float* beta;
};

// The columns' `scale`, gamma / deviation.
std::vector<float> NormScale(const DenseLayer& layer, const float* gamma, const float* variance);

template <bool relu>
void Normalise(const NormColumns& norm, const float* linear, int64_t rows, int64_t columns,
               float* y);

template <bool relu>
void AddBiasOnly(const float* bias, int64_t rows, int64_t columns, float* y);

// The passes of the backward pass compute whether the ReLU let a number pass from `linear`, to the
// same bits as Normalise: reading `y` takes longer.

// Column sums of g and g (linear - mean), g being the gradient before the ReLU.
template <bool relu>
void SumGradients(const NormColumns& norm, const float* upstream, const float* linear, int64_t rows,
                  int64_t columns, float* plain, float* centered);

// The parts of the gradient of a normalised layer's `linear`.
struct NormGradient {
  std::vector<float> plain;  // mean of g
  std::vector<float> slope;  // mean of g (linear - mean) / deviation^2
};

// `out` may be `upstream`, here and in PlainBackward.
template <bool relu, bool weighted>
void NormBackward(const NormColumns& norm, const NormGradient& gradient, const float* upstream,
                  const float* linear, const float* weights, int64_t rows, int64_t columns,
                  float* out);

template <bool relu>
void PlainBackward(const float* upstream, const float* y, int64_t rows, int64_t columns, float* out,
                   float* sum);

// Gradients of gamma and beta, and the factors for that of `linear`, from the sums of the blocks.
NormGradient GammaBeta(const DenseLayer& layer, const float* weights, const DenseKept& kept,
                       BlockSums* sums, const DenseGradients& out);

// The gradient of the bias from the blocks' sums, or zeros with a norm.
void BiasGradient(const DenseLayer& layer, BlockSums* sums, float* out);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_DENSE_PASSES_H_
