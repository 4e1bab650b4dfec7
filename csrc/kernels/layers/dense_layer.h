// A fully connected layer with batch normalisation and ReLU, forward and backward.
//
// Written out, with B rows (Ioffe and Szegedy, 2015, section 3):
//
//   linear = x kernel + bias
//   mean, variance = of each column of `linear`, the population's; row r counts weights[r] times
//   y = relu(gamma (linear - mean) / sqrt(variance + epsilon) + beta)
//
// Without `norm`, y is relu(linear); without `relu`, the argument of relu; without `multiplies`, x
// is the product already. Each block of rows goes through all possible steps while it is in the
// cache. All arrays are row-major float32.

#ifndef HVDREC_KERNELS_LAYERS_DENSE_LAYER_H_
#define HVDREC_KERNELS_LAYERS_DENSE_LAYER_H_

#include <cstdint>

#include "kernels/base/parallel.h"
#include "kernels/layers/parts.h"
#include "kernels/layers/repeats.h"

namespace hvdrec {

struct DenseLayer {
  int64_t rows;     // B
  int64_t inputs;   // I
  int64_t outputs;  // O; I without `multiplies`
  bool multiplies;
  bool norm;
  bool relu;
  float epsilon;
};

struct DenseWeights {
  const float* kernel;  // [I, O], only with `multiplies`
  const float* bias;    // [O]
  const float* gamma;   // [O], these two only with `norm`
  const float* beta;    // [O]
};

// The rows of a batch.
struct DenseRows {
  Parts<const float> x;      // [B, I]; one part without `multiplies` and where columns repeat
  const float* weights;      // [B], at least 0, only with `norm`; nullptr for ones
  RepeatedColumns repeated;  // only with `multiplies`; see repeats.h for the gradient of x
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
  const float* y;  // only without `norm`, with which it follows from `linear`
  const float* linear;
  const float* mean;
  const float* variance;
};

struct DenseGradients {
  Parts<float> x;
  float* kernel;  // [I, O], only with `multiplies`
  float* bias;    // [O], zeros with `norm`: the mean cancels a bias
  float* gamma;   // [O], these two only with `norm`
  float* beta;    // [O]
};

// Mean and variance are 0 if no row counts.
void DenseLayerForward(const DenseLayer& layer, const DenseRows& rows, const DenseWeights& weights,
                       const DenseOutputs& out, const Parallel& parallel);

// Gradients from that of y. `scratch` is [B, O], and may be `upstream`; it isn't needed without
// `multiplies`. The bias isn't read.
void DenseLayerBackward(const DenseLayer& layer, const float* upstream, const DenseRows& rows,
                        const DenseWeights& weights, const DenseKept& kept, float* scratch,
                        const DenseGradients& out, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_DENSE_LAYER_H_
