#include "kernels/layers/dense_layer.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/base/phases.h"
#include "kernels/base/scratch.h"
#include "kernels/layers/amx_product.h"
#include "kernels/layers/dense_passes.h"
#include "kernels/layers/panels.h"
#include "kernels/layers/single_output.h"

namespace hvdrec {
namespace {

constexpr int64_t kRows = kDenseRows;
// The kernel's gradient is computed in tiles of this many inputs and outputs.
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileOutputs = 64;
// Numbers of it that are added up as one piece.
constexpr int64_t kFinished = 4096;
// The time of adding a number to a product, in multiplications of products, on AMX in the second.
constexpr int64_t kAdded = 11;
constexpr int64_t kAddedToSplit = 14;

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

// Adds the kernel's gradient to the last phase. Returns what computes its numbers `begin` to `end`
// from that in a later phase, or nothing if they are computed already.
std::function<void(int64_t, int64_t)> KernelGradientBeside(const DenseLayer& layer, const float* x,
                                                           const float* linear, float* out,
                                                           Phases* phases) {
#if HVDREC_AMX
  if (layer.rows > 0 && AmxMultipliesTransposedFaster(layer.inputs, layer.outputs) && HasAmx()) {
    const auto gradient = std::make_shared<SplitKernelGradient>(layer);
    phases->Beside(gradient->pieces(),
                   [=](int64_t piece) { gradient->Add(piece, x, linear, out); });
    return [=](int64_t begin, int64_t end) { gradient->Finish(begin, end, out); };
  }
#endif
  phases->Beside(KernelTiles(layer),
                 [=](int64_t tile) { KernelGradient(layer, x, linear, tile, out); });
  return nullptr;
}

// The columns of a layer's input that repeat, and the layer of the rest.
struct Reduced {
  Reduced(const DenseLayer& layer, const DenseRows& rows, const float* kernel)
      : repeats(rows.repeated, layer.rows, layer.inputs, Added(layer)),
        rest(layer),
        copies(!repeats.none() || rows.x.size() > 1),
        x_memory(static_cast<size_t>(copies ? layer.rows * repeats.rest() : 0)),
        kernel_memory(static_cast<size_t>(repeats.none() ? 0 : repeats.rest() * layer.outputs)),
        x(copies ? x_memory.data() : rows.x[0].data),
        kernel(repeats.none() ? kernel : kernel_memory.data()) {
    if (repeats.none()) return;
    rest.inputs = repeats.rest();
    repeats.TakeRestRows(kernel, layer.outputs, kernel_memory.data());
  }

  // Adds to the last phase what copies the rest of x to one place, if it isn't there.
  void RestBeside(const Parts<const float>& parts, Phases* phases) {
    if (!copies) return;
    phases->ChunksBeside(rest.rows, kRows, [=, &parts](int64_t, int64_t begin, int64_t end) {
      float* const to = x_memory.data() + begin * rest.inputs;
      if (repeats.none()) {
        TakeParts(parts, begin, end, to);
      } else {
        repeats.TakeRest(parts[0].data + begin * repeats.inputs(), end - begin, to);
      }
    });
  }

  // Calls write(to) for the rest of rows of x's gradient, and puts them into it.
  template <typename Write>
  void WriteRest(int64_t begin, int64_t end, const Parts<float>& gradient,
                 const Write& write) const {
    if (!copies) return write(gradient[0].data + begin * rest.inputs);
    Scratch<float> rows(static_cast<size_t>((end - begin) * rest.inputs));
    write(rows.data());
    if (repeats.none()) {
      PutParts(rows.data(), begin, end, gradient);
    } else {
      repeats.PutRest(rows.data(), end - begin, gradient[0].data + begin * repeats.inputs());
    }
  }

  static int64_t Added(const DenseLayer& layer) {
    return Panels::SplitsBest(layer.inputs, layer.outputs) ? kAddedToSplit : kAdded;
  }

  const Repeats repeats;
  DenseLayer rest;
  const bool copies;  // x isn't as a whole in one place
  Scratch<float> x_memory;
  Scratch<float> kernel_memory;
  const float* const x;
  const float* const kernel;
};

template <bool relu>
void Forward(const DenseLayer& layer, const DenseRows& rows, const DenseWeights& weights,
             const DenseOutputs& out, const Parallel& parallel) {
  const int64_t columns = layer.outputs;
  Reduced reduced(layer, rows, weights.kernel);
  RepeatedProduct repeated(reduced.repeats, columns);
  const DenseLayer& rest = reduced.rest;
  Panels kernel(rest.inputs, layer.multiplies ? columns : 0,
                layer.multiplies && Panels::SplitsBest(rest.inputs, columns));
  float* const linear = layer.norm ? out.linear : out.y;
  const auto add_bias = rows.weights != nullptr ? AddBias<true> : AddBias<false>;
  BlockSums sums(layer.norm ? layer.rows : 0, columns);
  std::vector<float> scale;
  Phases phases;
  phases.Add(repeated.pieces(),
             [&](int64_t piece) { repeated.Multiply(piece, rows.x[0].data, weights.kernel); });
  phases.Beside(kernel.count(),
                [&](int64_t panel) { kernel.Pack(panel, reduced.kernel, columns); });
  reduced.RestBeside(rows.x, &phases);
  phases.AddChunks(layer.rows, kRows, [&, linear](int64_t block, int64_t begin, int64_t end) {
    float* const at = linear + begin * columns;
    const float* const x = reduced.x + begin * rest.inputs;
    if (layer.multiplies) {
      kernel.Multiply(x, end - begin, at);
      repeated.Add(begin, end, at);
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
      scale = NormScale(layer, weights.gamma, out.variance);
    });
    phases.AddChunksBackwards(layer.rows, kRows, [&, linear](int64_t, int64_t begin, int64_t end) {
      Normalise<relu>({out.mean, scale.data(), weights.beta}, linear + begin * columns, end - begin,
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
  Reduced reduced(layer, rows, weights.kernel);
  const Repeats& repeats = reduced.repeats;
  RepeatedGradient repeated(repeats, columns);
  Scratch<float> kernel_gradient(
      static_cast<size_t>(repeats.none() ? 0 : repeats.rest() * columns));
  const DenseLayer& rest = reduced.rest;
  Panels kernel(columns, layer.multiplies ? rest.inputs : 0,
                layer.multiplies && Panels::SplitsBest(columns, rest.inputs));
  float* const linear = layer.multiplies ? scratch : out.x[0].data;
  const auto norm_backward =
      rows.weights != nullptr ? NormBackward<relu, true> : NormBackward<relu, false>;
  const std::vector<float> scale =
      layer.norm ? NormScale(layer, weights.gamma, kept.variance) : std::vector<float>();
  const NormColumns norm{kept.mean, scale.data(), weights.beta};
  NormGradient gradient;
  BlockSums sums(layer.rows, columns);
  Phases phases;
  phases.Add(kernel.count(),
             [&](int64_t panel) { kernel.PackTransposed(panel, reduced.kernel, columns); });
  reduced.RestBeside(rows.x, &phases);
  if (layer.norm) {
    phases.ChunksBeside(layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
      const int64_t at = begin * columns;
      SumGradients<relu>(norm, upstream + at, kept.linear + at, end - begin, columns,
                         sums.first(block), sums.second(block));
    });
    phases.Add(1, [&](int64_t) { gradient = GammaBeta(layer, rows.weights, kept, &sums, out); });
  }
  phases.AddChunksBackwards(layer.rows, kRows, [&](int64_t block, int64_t begin, int64_t end) {
    const int64_t at = begin * columns;
    if (layer.norm) {
      norm_backward(norm, gradient, upstream + at, kept.linear + at,
                    rows.weights == nullptr ? nullptr : rows.weights + begin, end - begin, columns,
                    linear + at);
    } else {
      PlainBackward<relu>(upstream + at, kept.y + at, end - begin, columns, linear + at,
                          sums.first(block));
    }
    if (!layer.multiplies) return;
    reduced.WriteRest(begin, end, out.x,
                      [&](float* to) { kernel.Multiply(linear + at, end - begin, to); });
  });
  if (layer.multiplies) {
    float* const gradient = repeats.none() ? out.kernel : kernel_gradient.data();
    phases.Add(repeated.sums(), [&, linear](int64_t piece) {
      repeated.Sum(piece, linear, rows.x[0].data, out.kernel);
    });
    const auto finish = KernelGradientBeside(rest, reduced.x, linear, gradient, &phases);
    phases.Add(static_cast<int64_t>(repeats.features().size()),
               [&](int64_t f) { repeated.Multiply(f, weights.kernel, out.x[0].data); });
    if (finish) {
      phases.ChunksBeside(rest.inputs * columns, kFinished,
                          [=](int64_t, int64_t begin, int64_t end) { finish(begin, end); });
    }
  }
  phases.Run(parallel);
  if (!repeats.none()) repeats.PutRestRows(kernel_gradient.data(), columns, out.kernel);
  BiasGradient(layer, &sums, out.bias);
}

bool HasSingleOutput(const DenseLayer& layer, const DenseRows& rows) {
  return layer.multiplies && !layer.norm && layer.outputs == 1 && rows.x.size() == 1;
}

}  // namespace

void DenseLayerForward(const DenseLayer& layer, const DenseRows& rows, const DenseWeights& weights,
                       const DenseOutputs& out, const Parallel& parallel) {
  if (HasSingleOutput(layer, rows)) {
    SingleOutputForward({layer.rows, layer.inputs, layer.relu}, rows.x[0].data, weights.kernel,
                        *weights.bias, out.y, parallel);
    return;
  }
  (layer.relu ? Forward<true> : Forward<false>)(layer, rows, weights, out, parallel);
}

void DenseLayerBackward(const DenseLayer& layer, const float* upstream, const DenseRows& rows,
                        const DenseWeights& weights, const DenseKept& kept, float* scratch,
                        const DenseGradients& out, const Parallel& parallel) {
  if (HasSingleOutput(layer, rows)) {
    SingleOutputBackward({layer.rows, layer.inputs, layer.relu}, upstream, rows.x[0].data,
                         weights.kernel, kept.y, {out.x[0].data, out.kernel, out.bias}, parallel);
    return;
  }
  (layer.relu ? Backward<true> : Backward<false>)(layer, upstream, rows, weights, kept, scratch,
                                                  out, parallel);
}

}  // namespace hvdrec
