// A dense layer (dense_layer.h) with one output and without a norm, such as the last one of a
// model. Its products are sums over a row or over the rows, for which panels (panels.h) would be
// padded to many times their size.

#ifndef HVDREC_KERNELS_LAYERS_SINGLE_OUTPUT_H_
#define HVDREC_KERNELS_LAYERS_SINGLE_OUTPUT_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct SingleOutput {
  int64_t rows;
  int64_t inputs;
  bool relu;
};

// y[r] = relu(x[r] . kernel + bias); x is [rows, inputs].
void SingleOutputForward(const SingleOutput& layer, const float* x, const float* kernel, float bias,
                         float* y, const Parallel& parallel);

struct SingleOutputGradients {
  float* x;       // [rows, inputs]
  float* kernel;  // [inputs]
  float* bias;    // [1]
};

void SingleOutputBackward(const SingleOutput& layer, const float* upstream, const float* x,
                          const float* kernel, const float* y, const SingleOutputGradients& out,
                          const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_SINGLE_OUTPUT_H_
