// Compares the kernels of target attention, and the product of small matrices, with their formulas
// in double; gradients with the derivatives of the formulas.

#include "kernels/layers/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/base/small_product.h"
#include "tests/outputs.h"
#include "tests/tally.h"

namespace hvdrec {
namespace {

using Floats32 = std::vector<float>;
using Wide = std::vector<double>;

Floats32 Normal(int64_t count, std::mt19937* random) {
  std::normal_distribution<float> normal;
  Floats32 out(count);
  for (float& v : out) v = normal(*random);
  return out;
}

struct Batch {
  std::vector<int32_t> lengths;
  int64_t width, outputs;
  bool padded, zeros;
  Floats32 query, values, padding, kernel, upstream;
  int64_t elements, positions;

  Batch(std::vector<int32_t> of_rows, int64_t width_, int64_t outputs_, bool padded_, bool zeros_)
      : lengths(std::move(of_rows)),
        width(width_),
        outputs(outputs_),
        padded(padded_),
        zeros(zeros_) {
    std::mt19937 random(static_cast<unsigned>(width * 1000 + outputs));
    const auto rows = static_cast<int64_t>(lengths.size());
    elements = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    positions = elements + (padded ? rows : 0);
    query = Normal(rows * width, &random);
    values = Normal(elements * width, &random);
    padding = zeros ? Floats32(width, 0.0F) : Normal(width, &random);
    kernel = Normal(4 * width * outputs, &random);
    upstream = Normal(positions * outputs, &random);
  }

  Histories histories() const {
    return {static_cast<int64_t>(lengths.size()), elements, lengths.data()};
  }

  // Calls body(position, row, its element) for each position.
  void ForPositions(const std::function<void(int64_t, int64_t, const float*)>& body) const {
    int64_t position = 0;
    for (size_t b = 0; b < lengths.size(); ++b) {
      for (int32_t e = 0; e < lengths[b]; ++e, ++position) {
        body(position, static_cast<int64_t>(b), values.data() + position * width);
      }
    }
    for (size_t b = 0; padded && b < lengths.size(); ++b, ++position) {
      body(position, static_cast<int64_t>(b), padding.data());
    }
  }
};

struct Found {
  Wide linear, query, values, padding, kernel;
};

Found Formula(const Batch& batch) {
  const int64_t width = batch.width, outputs = batch.outputs;
  Found f{Wide(batch.positions * outputs), Wide(batch.query.size()), Wide(batch.values.size()),
          Wide(batch.padding.size()), Wide(batch.kernel.size())};
  batch.ForPositions([&](int64_t position, int64_t row, const float* h) {
    double* const by_query = f.query.data() + row * width;
    double* const by_element =
        position < batch.elements ? f.values.data() + position * width : f.padding.data();
    for (int64_t d = 0; d < width; ++d) {
      const double q = batch.query[row * width + d];
      const double seen[4] = {q, h[d], q - h[d], q * h[d]};
      for (int64_t o = 0; o < outputs; ++o) {
        const double g = batch.upstream[position * outputs + o];
        const auto k = [&](int part) { return (part * width + d) * outputs + o; };
        const auto weight = [&](int part) { return double{batch.kernel[k(part)]}; };
        for (int part = 0; part < 4; ++part) {
          f.linear[position * outputs + o] += seen[part] * weight(part);
          f.kernel[k(part)] += g * seen[part];
        }
        by_query[d] += g * (weight(0) + weight(2) + h[d] * weight(3));
        by_element[d] += g * (weight(1) - weight(2) + q * weight(3));
      }
    }
  });
  return f;
}

void TestProduct(const Batch& batch, const Parallel& parallel, Tally* tally) {
  const Found expected = Formula(batch);
  const AttentionProduct product{batch.histories(),
                                 batch.width,
                                 batch.outputs,
                                 batch.padded,
                                 batch.query.data(),
                                 batch.values.data(),
                                 batch.zeros ? nullptr : batch.padding.data(),
                                 batch.kernel.data()};
  Floats32 linear = Unwritten<float>(expected.linear.size()),
           query = Unwritten<float>(batch.query.size()),
           values = Unwritten<float>(batch.values.size()),
           padding = Unwritten<float>(batch.padding.size()),
           kernel = Unwritten<float>(batch.kernel.size());
  AttentionProductForward(product, linear.data(), parallel);
  AttentionProductBackward(product, batch.upstream.data(),
                           {query.data(), values.data(), padding.data(), kernel.data()}, parallel);
  const double loss = RelativeError(linear, expected.linear);
  double gradient =
      Worst({RelativeError(query, expected.query), RelativeError(values, expected.values),
             RelativeError(kernel, expected.kernel)});
  if (!batch.zeros) gradient = Worst({gradient, RelativeError(padding, expected.padding)});
  // The gradient of a query of few columns is a long sum that cancels.
  tally->Count(loss < 2e-6 && gradient < 3e-5,
               "product " + std::to_string(batch.width) + " " + std::to_string(batch.outputs), loss,
               gradient);
}

void TestAttend(const Batch& batch, const Parallel& parallel, Tally* tally) {
  const int64_t width = batch.width, rows = static_cast<int64_t>(batch.lengths.size());
  std::mt19937 random(3);
  const Floats32 scores = Normal(batch.elements, &random);
  const Floats32 by_attended = Normal(rows * width, &random);
  const Floats32 by_shares = Normal(batch.elements, &random);
  Floats32 attended = Unwritten<float>(rows * width), shares = Unwritten<float>(batch.elements),
           by_scores = shares, by_values = Unwritten<float>(batch.values.size());
  AttendForward(batch.histories(), width, scores.data(), batch.values.data(), attended.data(),
                shares.data(), parallel);
  AttendBackward(batch.histories(), width, shares.data(), batch.values.data(), by_attended.data(),
                 by_shares.data(), by_scores.data(), by_values.data(), parallel);
  Wide sums(rows * width), parts(batch.elements), of_scores(batch.elements),
      of_values(batch.elements * width);
  for (int64_t b = 0, first = 0; b < rows; first += batch.lengths[b], ++b) {
    const int64_t end = first + batch.lengths[b];
    double total = 0, mean = 0;
    for (int64_t e = first; e < end; ++e) total += std::exp(scores[e]);
    for (int64_t e = first; e < end; ++e) {
      parts[e] = std::exp(scores[e]) / total;
      of_scores[e] = by_shares[e];
      for (int64_t d = 0; d < width; ++d) {
        const double value = batch.values[e * width + d], g = by_attended[b * width + d];
        sums[b * width + d] += parts[e] * value;
        of_scores[e] += g * value;
        of_values[e * width + d] = parts[e] * g;
      }
      mean += parts[e] * of_scores[e];
    }
    for (int64_t e = first; e < end; ++e) of_scores[e] = parts[e] * (of_scores[e] - mean);
  }
  const double loss = Worst({RelativeError(attended, sums), RelativeError(shares, parts)});
  const double gradient =
      Worst({RelativeError(by_scores, of_scores), RelativeError(by_values, of_values)});
  tally->Count(loss < 2e-6 && gradient < 2e-6, "attend " + std::to_string(width), loss, gradient);
}

void TestSmallProduct(Tally* tally) {
  std::mt19937 random(5);
  for (const int64_t rows : {0, 1, 3, 6, 11, 17}) {
    for (const int64_t columns : {1, 3, 4, 7, 12, 31, 64, 93, 128}) {
      for (const bool adds : {false, true}) {
        const int64_t depth = 1 + (rows + columns) % 9, stride = columns + 2;
        const Floats32 a = Normal(rows * depth, &random), b = Normal(depth * stride, &random);
        Floats32 out = Normal(rows * stride, &random);
        Wide expected(out.begin(), out.end());
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < columns; ++c) {
            double& sum = expected[r * stride + c];
            if (!adds) {
              sum = 0;
              out[r * stride + c] = std::nanf("");
            }
            // The first factor is stored by columns.
            for (int64_t k = 0; k < depth; ++k) sum += double{a[k * rows + r]} * b[k * stride + c];
          }
        }
        SmallProduct({a.data(), 1, rows}, rows, b.data(), stride, depth, columns, adds, out.data(),
                     stride);
        const double error = RelativeError(out, expected);
        tally->Count(error < 1e-6, "matrices " + std::to_string(columns), error, 0);
      }
    }
  }
}

// Lengths that contradict the number of elements, and scores that aren't numbers.
void TestRefusals(Tally* tally) {
  for (const std::vector<int32_t>& lengths : {std::vector<int32_t>{1, 1}, {4, -1}}) {
    const Histories histories{2, 3, lengths.data()};
    const Floats32 numbers(6);
    Floats32 out(12);
    bool refused = false;
    try {
      AttendForward(histories, 2, numbers.data(), numbers.data(), out.data(), out.data(), Serial());
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    tally->Count(refused, "lengths", 0, 0);
  }
  const std::vector<int32_t> lengths{2, 2};
  const Floats32 values(4, 1.0F), scores{0.0F, 1.0F, 0.0F, std::nanf("")};
  Floats32 attended = Unwritten<float>(2), shares = Unwritten<float>(4);
  AttendForward({2, 4, lengths.data()}, 1, scores.data(), values.data(), attended.data(),
                shares.data(), Serial());
  tally->Count(std::abs(attended[0] - 1) < 1e-6 && std::isnan(attended[1]), "not a number", 0, 0);
}

}  // namespace
}  // namespace hvdrec

int main() {
  using namespace hvdrec;
  Tally tally;
  const OwnThreads threads(3);
  std::vector<int32_t> mixed{3, 0, 1, 7, 2, 0};
  for (int32_t b = 0; b < 60; ++b) mixed.push_back(b * 7 % 13);
  for (const std::vector<int32_t>& lengths : {mixed, {}, {0, 0}, {1}, {0, 9}}) {
    for (const int64_t width : {1, 3, 16, 20}) {
      for (const int64_t outputs : {1, 5, 16, 36}) {
        for (const bool padded : {false, true}) {
          for (const bool zeros : {false, true}) {
            TestProduct({lengths, width, outputs, padded, zeros}, threads, &tally);
          }
        }
      }
      TestAttend({lengths, width, 1, false, true}, threads, &tally);
    }
  }
  TestSmallProduct(&tally);
  TestRefusals(&tally);
  return tally.End("attention");
}
