// A fully connected layer with batch normalisation and ReLU, forward and backward.
//
// Written out, with B rows (Ioffe and Szegedy, 2015, section 3):
//
//   linear = x kernel + bias
//   mean, variance = of each column of `linear`, the population's
//   y = relu(gamma (linear - mean) / sqrt(variance + epsilon) + beta)
//
// Without `norm`, y is relu(linear); without `relu`, the argument of relu. Each block of rows goes
// through all possible steps while it is in the cache. All arrays are row-major float32.

#ifndef HVDREC_KERNELS_LAYERS_DENSE_LAYER_H_
#define HVDREC_KERNELS_LAYERS_DENSE_LAYER_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct DenseLayer {
  int64_t rows;     // B
  int64_t inputs;   // I
  int64_t outputs;  // O
  bool norm;
  bool relu;
  float epsilon;
};

struct DenseWeights {
  const float* kernel;  // [I, O]
  const float* bias;    // [O]
  const float* gamma;   // [O], these two only with `norm`
  const float* beta;    // [O]
};

// The results of the forward pass; `linear`, `mean` and `variance` only with `norm`.
struct DenseOutputs {
  float* y;         // [B, O]
  float* linear;    // [B, O]
  float* mean;      // [O]
  float* variance;  // [O]
};

// The same, after the forward pass.
struct DenseKept {
  const float* y;
  const float* linear;
  const float* mean;
  const float* variance;
};

struct DenseGradients {
  float* x;       // [B, I]
  float* kernel;  // [I, O]
  float* bias;    // [O], zeros with `norm`: the mean cancels a bias
  float* gamma;   // [O], these two only with `norm`
  float* beta;    // [O]
};

// B may be 0: mean and variance are 0 then.
void DenseLayerForward(const DenseLayer& layer, const float* x, const DenseWeights& weights,
                       const DenseOutputs& out, const Parallel& parallel);

// Gradients from that of y. `scratch` is [B, O]; bias and beta aren't read.
void DenseLayerBackward(const DenseLayer& layer, const float* upstream, const float* x,
                        const DenseWeights& weights, const DenseKept& kept, float* scratch,
                        const DenseGradients& out, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_DENSE_LAYER_H_
