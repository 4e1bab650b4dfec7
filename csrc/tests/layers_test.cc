// Compares the kernels of dense layers, lookups, their sums and pair products, and sums of squares,
// with plain loops in double.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/layers/dense_layer.h"
#include "kernels/layers/lookup.h"
#include "kernels/layers/lookup_sums.h"
#include "kernels/layers/pair_products.h"
#include "kernels/optim/sum_of_squares.h"
#include "tests/outputs.h"
#include "tests/tally.h"

namespace hvdrec {
namespace {

using Floats = std::vector<float>;
using Wide = std::vector<double>;

Floats Normal(int64_t count, std::mt19937* random) {
  std::normal_distribution<float> normal;
  Floats out(static_cast<size_t>(count));
  for (float& v : out) v = normal(*random);
  return out;
}

bool SameBits(const std::vector<Floats>& one, const std::vector<Floats>& other) {
  bool same = true;
  for (size_t i = 0; i < one.size(); ++i) {
    same &= one[i].empty() ||
            std::memcmp(one[i].data(), other[i].data(), one[i].size() * sizeof(float)) == 0;
  }
  return same;
}

// A dense layer and a batch.
struct Layer {
  DenseLayer shape;
  bool weighted;
  Floats x, kernel, bias, gamma, beta, weights, upstream;
  std::vector<int32_t> index, classes;
  std::vector<int64_t> starts, widths;

  // With columns of several ids, `widths` of each, the f-th with 3^f values.
  Layer(const DenseLayer& shape_, bool weighted_, const std::vector<int64_t>& widths_ = {})
      : shape(shape_), weighted(weighted_), widths(widths_) {
    std::mt19937 random(static_cast<unsigned>(shape.rows * 1000 + shape.outputs));
    x = Normal(shape.rows * shape.inputs, &random);
    kernel = Normal(shape.multiplies ? shape.inputs * shape.outputs : 0, &random);
    bias = Normal(shape.outputs, &random);
    gamma = Normal(shape.outputs, &random);
    beta = Normal(shape.outputs, &random);
    upstream = Normal(shape.rows * shape.outputs, &random);
    for (int64_t r = 0; r < shape.rows; ++r) weights.push_back(static_cast<float>(r % 3) / 2);
    int64_t next = 1;
    for (const int64_t width : widths) {
      starts.push_back(next);
      next += width + 1;
    }
    for (int64_t r = 0; r < shape.rows; ++r) {
      for (size_t f = 0, values = 1; f < widths.size(); ++f, values *= 3) {
        const auto id = static_cast<int64_t>(random() % values);
        index.push_back(static_cast<int32_t>(id));
        for (int64_t w = 0; w < widths[f]; ++w) {
          x[r * shape.inputs + starts[f] + w] = std::sin(static_cast<float>(id * 7 + w));
        }
      }
    }
    classes.resize(index.size());
    NumberClasses(index.data(), shape.rows, static_cast<int64_t>(widths.size()), classes.data());
  }

  // Moves the gradients of all rows of an id to its first row.
  template <typename Vector>
  void Fold(Vector* by_x) const {
    const size_t features = widths.size();
    for (size_t i = 0; i < index.size(); ++i) {
      size_t first = i % features;
      while (index[first] != index[i]) first += features;
      if (first == i) continue;
      for (int64_t w = 0; w < widths[i % features]; ++w) {
        const size_t column = starts[i % features] + w;
        auto& value = (*by_x)[i / features * shape.inputs + column];
        (*by_x)[first / features * shape.inputs + column] += value;
        value = 0;
      }
    }
  }

  // y, linear, mean, variance, and the gradients of x, kernel, bias, gamma and beta. The backward
  // pass may have its scratch in the memory of `upstream`.
  std::vector<Floats> Run(const Parallel& parallel, bool in_place = false) const {
    const int64_t o = shape.outputs, size = shape.rows * o, columns = shape.norm ? o : 0;
    std::vector<Floats> f;
    for (const int64_t count :
         {size, shape.norm ? size : 0, columns, columns, static_cast<int64_t>(x.size()),
          static_cast<int64_t>(kernel.size()), o, columns, columns}) {
      f.push_back(Unwritten<float>(count));
    }
    Floats scratch = in_place ? upstream : Unwritten<float>(size);
    const DenseRows rows{
        {{x.data(), shape.inputs}},
        weighted ? weights.data() : nullptr,
        {classes.data(), static_cast<int64_t>(widths.size()), starts.data(), widths.data()}};
    const DenseWeights held{kernel.data(), bias.data(), gamma.data(), beta.data()};
    DenseLayerForward(shape, rows, held, {f[0].data(), f[1].data(), f[2].data(), f[3].data()},
                      parallel);
    DenseLayerBackward(
        shape, (in_place ? scratch : upstream).data(), rows, held,
        {f[0].data(), f[1].data(), f[2].data(), f[3].data()}, scratch.data(),
        {{{f[4].data(), shape.inputs}}, f[5].data(), f[6].data(), f[7].data(), f[8].data()},
        parallel);
    return f;
  }

  // The same results from an input in parts of these widths.
  std::vector<Floats> RunParts(const std::vector<int64_t>& parts, const Parallel& parallel) const {
    std::vector<Floats> f = Run(parallel);
    std::vector<Floats> pieces, gradients;
    DenseRows rows{{}, weighted ? weights.data() : nullptr, {}};
    DenseGradients out{{}, f[5].data(), f[6].data(), f[7].data(), f[8].data()};
    int64_t first = 0;
    for (const int64_t width : parts) {
      Floats& piece = pieces.emplace_back();
      for (int64_t r = 0; r < shape.rows; ++r) {
        const auto from = x.begin() + r * shape.inputs + first;
        piece.insert(piece.end(), from, from + width);
      }
      first += width;
      gradients.push_back(Unwritten<float>(shape.rows * width));
      rows.x.push_back({piece.data(), width});
      out.x.push_back({gradients.back().data(), width});
    }
    const DenseWeights held{kernel.data(), bias.data(), gamma.data(), beta.data()};
    Floats scratch = Unwritten<float>(shape.rows * shape.outputs);
    DenseLayerForward(shape, rows, held, {f[0].data(), f[1].data(), f[2].data(), f[3].data()},
                      parallel);
    DenseLayerBackward(shape, upstream.data(), rows, held,
                       {f[0].data(), f[1].data(), f[2].data(), f[3].data()}, scratch.data(), out,
                       parallel);
    for (int64_t r = 0, at = 0; r < shape.rows; ++r) {
      for (size_t p = 0; p < parts.size(); ++p) {
        for (int64_t c = 0; c < parts[p]; ++c) f[4][at++] = gradients[p][r * parts[p] + c];
      }
    }
    return f;
  }
};

// The same in double. What the ReLU lets pass is decided by the kernel's own `y`.
std::vector<Wide> Formula(const Layer& layer, const Floats& y) {
  const auto [rows, inputs, outputs, multiplies, norm, relu, epsilon] = layer.shape;
  Wide linear(layer.upstream.size()), normal, mean, variance, by_x(layer.x.size());
  Wide by_kernel(layer.kernel.size()), by_bias(static_cast<size_t>(outputs)), by_gamma, by_beta;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < outputs; ++o) {
      double& sum = linear[r * outputs + o];
      sum = layer.bias[o] + (multiplies ? 0.0 : layer.x[r * inputs + o]);
      for (int64_t i = 0; multiplies && i < inputs; ++i) {
        sum += double{layer.x[r * inputs + i]} * layer.kernel[i * outputs + o];
      }
    }
  }
  Wide out = linear, by_linear(linear.size());
  const auto weight = [&](int64_t r) { return layer.weighted ? layer.weights[r] : 1.0; };
  for (int64_t o = 0; o < outputs; ++o) {
    double count = 0, center = 0, spread = 0, plain = 0, centered = 0;
    const auto passed = [&](int64_t r) {
      return relu && !(y[r * outputs + o] > 0) ? 0.0 : layer.upstream[r * outputs + o];
    };
    for (int64_t r = 0; r < rows; ++r) {
      count += weight(r);
      center += weight(r) * linear[r * outputs + o];
    }
    const double share = count > 0 ? 1 / count : 0;
    center *= share;
    for (int64_t r = 0; r < rows; ++r) {
      const double away = linear[r * outputs + o] - center;
      spread += weight(r) * away * away * share;
      plain += passed(r);
      centered += passed(r) * away;
    }
    const double inverse = 1 / std::sqrt(spread + epsilon), scale = layer.gamma[o] * inverse;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = r * outputs + o;
      const double away = linear[at] - center;
      if (norm) out[at] = away * scale + layer.beta[o];
      if (relu) out[at] = std::max(out[at], 0.0);
      const double common = weight(r) * share * (plain + away * inverse * inverse * centered);
      by_linear[at] = norm ? scale * (passed(r) - common) : passed(r);
    }
    by_bias[o] = norm ? 0 : plain;
    if (!norm) continue;
    mean.push_back(center);
    variance.push_back(spread);
    by_gamma.push_back(centered * inverse);
    by_beta.push_back(plain);
  }
  if (!multiplies) by_x = by_linear;
  for (int64_t r = 0; multiplies && r < rows; ++r) {
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t o = 0; o < outputs; ++o) {
        const double g = by_linear[r * outputs + o];
        by_x[r * inputs + i] += g * layer.kernel[i * outputs + o];
        by_kernel[i * outputs + o] += g * layer.x[r * inputs + i];
      }
    }
  }
  return {out, norm ? linear : Wide(), mean, variance, by_x, by_kernel, by_bias, by_gamma, by_beta};
}

void TestDense(const Layer& layer, const Parallel& parallel, Tally* tally) {
  std::vector<Floats> found = layer.Run(parallel);
  const bool threads = SameBits(found, layer.Run(Serial()));
  const bool in_place = SameBits(found, layer.Run(parallel, true));
  std::vector<Wide> expected = Formula(layer, found[0]);
  layer.Fold(&found[4]);
  layer.Fold(&expected[4]);
  double forward = 0, backward = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    double& worst = i < 4 ? forward : backward;
    worst = Worst({worst, RelativeError(found[i], expected[i])});
  }
  const std::string name = "dense " + std::to_string(layer.shape.rows) + " " +
                           std::to_string(layer.shape.inputs) + " " +
                           std::to_string(layer.shape.outputs);
  // A column of few rows may have a small deviation, which magnifies the rounding of its terms.
  tally->Count(forward < 5e-5 && backward < 5e-4, name, forward, backward);
  tally->Count(threads, name + ", threads", 0, 0);
  tally->Count(in_place, name + ", in place", 0, 0);
}

void TestParts(const DenseLayer& shape, const std::vector<int64_t>& parts, const Parallel& parallel,
               Tally* tally) {
  const Layer layer(shape, shape.norm);
  tally->Count(SameBits(layer.Run(Serial()), layer.RunParts(parts, parallel)), "dense, parts", 0,
               0);
}

void TestAllDense(const Parallel& parallel, Tally* tally) {
  for (const int64_t rows : {0, 1, 5, 128, 300}) {
    for (const int64_t outputs : {1, 9, 33, 130}) {
      for (const int64_t inputs : {1, 7, 70}) {
        for (const bool norm : {false, true}) {
          const bool relu = (rows + inputs + norm) % 2 == 0;
          TestDense({{rows, inputs, outputs, true, norm, relu, 1e-3F}, false}, parallel, tally);
        }
      }
      for (const bool relu : {false, true}) {
        TestDense({{rows, outputs, outputs, false, true, relu, 1e-3F}, true}, parallel, tally);
        TestDense({{rows, 7, outputs, true, true, relu, 1e-3F}, true}, parallel, tally);
        TestDense({{rows, 75, outputs, true, true, relu, 1e-3F}, relu, {16, 12, 8, 16, 16}},
                  parallel, tally);
        TestDense({{rows, 40, outputs, true, false, relu, 0}, false, {20, 16}}, parallel, tally);
        TestDense({{rows, outputs, outputs, false, false, relu, 0}, false}, parallel, tally);
        TestParts({rows, 81, outputs, true, true, relu, 1e-3F}, {1, 16, 64}, parallel, tally);
        // Of one output without a norm, an input as a whole is multiplied in another order.
        if (outputs > 1) {
          TestParts({rows, 40, outputs, true, false, relu, 0}, {0, 33, 0, 7}, parallel, tally);
        }
      }
    }
  }
}

void TestLookup(int64_t count, int64_t dim, const Parallel& parallel, Tally* tally) {
  constexpr int64_t kTouched = 40;
  constexpr float kSquares = 0.25F;
  std::mt19937 random(static_cast<unsigned>(count + dim));
  const Floats touched = Normal(kTouched * dim, &random), upstream = Normal(count * dim, &random);
  std::vector<int32_t> index;
  for (int64_t n = 0; n < count; ++n) {
    index.push_back(static_cast<int32_t>(random() % (kTouched + 1)));
  }
  const Lookup lookup{index.data(), count, kTouched, dim};
  Floats out = Unwritten<float>(count * dim), gradient = Unwritten<float>(kTouched * dim);
  const double half = LookupForward(lookup, touched.data(), out.data(), parallel);
  LookupBackward(lookup, touched.data(), upstream.data(), kSquares, gradient.data(), parallel);
  Wide values(out.size()), by_touched(gradient.size());
  double squares = 0;
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t d = 0; index[n] > 0 && d < dim; ++d) {
      const int64_t from = (index[n] - 1) * dim + d, to = n * dim + d;
      values[to] = touched[from];
      squares += values[to] * values[to] / 2;
      by_touched[from] += upstream[to] + double{kSquares} * touched[from];
    }
  }
  const double loss =
      Worst({RelativeError(out, values), std::abs(half - squares) / std::max(squares, 1.0)});
  const double off = RelativeError(gradient, by_touched);
  tally->Count(loss < 1e-6 && off < 1e-5, "lookup " + std::to_string(dim), loss, off);
  if (count == 0) return;
  index.back() = kTouched + 1;
  bool refused = false;
  try {
    LookupForward(lookup, touched.data(), out.data(), parallel);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  tally->Count(refused, "an index outside", 0, 0);
}

void TestGather(int64_t count, int64_t dim, const Parallel& parallel, Tally* tally) {
  constexpr int64_t kRows = 500;
  std::mt19937 random(static_cast<unsigned>(count + dim));
  const Floats table = Normal(kRows * dim, &random);
  std::vector<int32_t> rows;
  Floats expected;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(static_cast<int32_t>(random() % kRows));
    const auto from = table.begin() + rows.back() * dim;
    expected.insert(expected.end(), from, from + dim);
  }
  Floats out = Unwritten<float>(count * dim);
  GatherRows(table.data(), kRows, dim, rows.data(), count, out.data(), parallel);
  tally->Count(out == expected, "gathered rows", 0, 0);
  if (count == 0) return;
  for (const int32_t outside : {-1, static_cast<int32_t>(kRows)}) {
    rows[static_cast<size_t>(count / 2)] = outside;
    bool refused = false;
    try {
      GatherRows(table.data(), kRows, dim, rows.data(), count, out.data(), parallel);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    tally->Count(refused, "a row outside", 0, 0);
  }
}

void TestLookupSums(int64_t rows, int64_t dim, const Parallel& parallel, Tally* tally) {
  constexpr int64_t kTouched = 3000, kColumns = 4, kStride = 6;
  constexpr float kSquares = 0.25F;
  std::mt19937 random(static_cast<unsigned>(rows + dim));
  const Floats touched = Normal(kTouched * dim, &random), upstream = Normal(rows, &random);
  std::vector<int32_t> index;
  for (int64_t n = 0; n < rows * kStride; ++n) {
    index.push_back(static_cast<int32_t>(random() % (kTouched / 2)));
  }
  const LookupSums lookup{index.data(), rows, kColumns, kStride, kTouched, dim};
  Floats out = Unwritten<float>(rows), gradient = Unwritten<float>(kTouched * dim);
  const double half = LookupSumsForward(lookup, touched.data(), out.data(), parallel);
  LookupSumsBackward(lookup, touched.data(), upstream.data(), kSquares, gradient.data(), parallel);
  Wide sums(out.size()), by_touched(gradient.size());
  double squares = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) {
      const int64_t row = index[r * kStride + c] - 1;
      for (int64_t d = 0; row >= 0 && d < dim; ++d) {
        const double value = touched[row * dim + d];
        sums[r] += value;
        squares += value * value / 2;
        by_touched[row * dim + d] += upstream[r] + kSquares * value;
      }
    }
  }
  const double loss =
      Worst({RelativeError(out, sums), std::abs(half - squares) / std::max(squares, 1.0)});
  const double off = RelativeError(gradient, by_touched);
  tally->Count(loss < 1e-5 && off < 1e-5, "lookup sums " + std::to_string(dim), loss, off);
  Floats alone = Unwritten<float>(rows), alone_gradient = Unwritten<float>(kTouched * dim);
  LookupSumsForward(lookup, touched.data(), alone.data(), Serial());
  LookupSumsBackward(lookup, touched.data(), upstream.data(), kSquares, alone_gradient.data(),
                     Serial());
  tally->Count(SameBits({out, gradient}, {alone, alone_gradient}), "lookup sums, threads", 0, 0);
}

void TestPairProducts(const FieldShape& shape, const Parallel& parallel, Tally* tally) {
  const auto [rows, fields, dim] = shape;
  std::mt19937 random(static_cast<unsigned>(rows + fields));
  const Floats x = Normal(rows * fields * dim, &random), upstream = Normal(rows * dim, &random);
  Floats out = Unwritten<float>(rows * dim), gradient = Unwritten<float>(rows * fields * dim);
  PairProducts(shape, x.data(), out.data(), parallel);
  PairProductsBackward(shape, x.data(), upstream.data(), nullptr, gradient.data(), parallel);
  Floats both = Normal(rows * fields * dim, &random), expected = both;
  PairProductsBackward(shape, x.data(), upstream.data(), both.data(), both.data(), parallel);
  Wide products(out.size()), by_x(gradient.size());
  for (int64_t b = 0; b < rows; ++b) {
    for (int64_t f = 0; f < fields; ++f) {
      for (int64_t g = 0; g < fields; ++g) {
        for (int64_t d = 0; g != f && d < dim; ++d) {
          const int64_t at = (b * fields + f) * dim + d, other = (b * fields + g) * dim + d;
          products[b * dim + d] += double{x[at]} * x[other] / 2;
          by_x[at] += double{upstream[b * dim + d]} * x[other];
        }
      }
    }
  }
  const double loss = RelativeError(out, products), off = RelativeError(gradient, by_x);
  tally->Count(loss < 2e-6 && off < 2e-6, "pairs " + std::to_string(fields), loss, off);
  Wide sums(expected.begin(), expected.end());
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += by_x[i];
  const double added = RelativeError(both, sums);
  tally->Count(added < 2e-6, "pairs, with another gradient", added, 0);
}

void TestSumOfSquares(int64_t count, const Parallel& parallel, Tally* tally) {
  std::mt19937 random(3);
  const Floats values = Normal(count, &random);
  double expected = 0;
  for (const double v : values) expected += v * v;
  const double found = SumOfSquares(values.data(), count, parallel);
  const double off = std::abs(found - expected) / std::max(expected, 1.0);
  tally->Count(off < 1e-12, "squares " + std::to_string(count), off, 0);
}

}  // namespace
}  // namespace hvdrec

int main() {
  using namespace hvdrec;
  Tally tally;
  const OwnThreads threads(3);
  TestAllDense(threads, &tally);
  for (const int64_t dim : {1, 8, 20}) {
    for (const int64_t count : {0, 5, 9000}) TestLookup(count, dim, threads, &tally);
    for (const int64_t count : {0, 5, 9000}) TestGather(count, dim, threads, &tally);
    for (const int64_t rows : {0, 5, 2000}) TestLookupSums(rows, dim, threads, &tally);
    for (const int64_t rows : {0, 1, 700}) {
      for (const int64_t fields : {1, 6}) TestPairProducts({rows, fields, dim}, threads, &tally);
    }
  }
  for (const int64_t count : {0, 1, 1000, 300000}) TestSumOfSquares(count, threads, &tally);
  return tally.End("layers");
}
