// Runs the similarity kernels over a grid of inputs and compares them with all pairs in plain
// loops. Made for sanitizers (`make sanitize`), which report buffer overruns and overflows as
// errors.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "kernels/similarity/circle.h"
#include "kernels/similarity/in_batch_softmax.h"
#include "kernels/similarity/multi_similarity.h"
#include "tests/outputs.h"

namespace hvdrec {
namespace {

enum class Kind { kNone, kPositive, kNegative };
using Row = std::vector<double>;

struct Case {
  int64_t rows, dim, sessions;  // sessions 0: none
  bool part;                    // only some rows are anchors
  bool gradient;
};

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double Sigmoid(double x) { return std::exp(-Softplus(-x)); }

double LogSumExp(const Row& z, const std::vector<Kind>& kinds, Kind kind) {
  double most = -INFINITY, sum = 0;
  for (size_t j = 0; j < z.size(); ++j) {
    if (kinds[j] == kind) most = std::max(most, z[j]);
  }
  for (size_t j = 0; j < z.size(); ++j) {
    if (kinds[j] == kind) sum += std::exp(z[j] - most);
  }
  return sum > 0 ? most + std::log(sum) : -INFINITY;
}

// An anchor's loss; fills its derivatives by the similarities.
double Circle(const CircleOptions& o, const Row& s, const std::vector<Kind>& kinds, Row* slopes) {
  Row z(s.size()), scale(s.size());
  for (size_t j = 0; j < s.size(); ++j) {
    const bool positive = kinds[j] == Kind::kPositive;
    scale[j] = positive ? -o.gamma * std::max(1 + o.margin - s[j], 0.0)
                        : o.gamma * std::max(s[j] + o.margin, 0.0);
    z[j] = scale[j] * (positive ? s[j] - 1 + o.margin : s[j] - o.margin);
  }
  const double positives = LogSumExp(z, kinds, Kind::kPositive);
  const double negatives = LogSumExp(z, kinds, Kind::kNegative);
  if (std::isinf(positives) || std::isinf(negatives)) return 0;
  const double joint = positives + negatives;
  for (size_t j = 0; j < s.size(); ++j) {
    if (kinds[j] == Kind::kNone) continue;
    const double all = kinds[j] == Kind::kPositive ? positives : negatives;
    (*slopes)[j] = Sigmoid(joint) * std::exp(z[j] - all) * scale[j];
  }
  return Softplus(joint);
}

double MultiSimilarity(const MultiSimilarityOptions& o, const Row& s, std::vector<Kind> kinds,
                       Row* slopes) {
  if (o.mining) {
    double least = INFINITY, greatest = -INFINITY;
    for (size_t j = 0; j < s.size(); ++j) {
      if (kinds[j] == Kind::kPositive) least = std::min(least, s[j]);
      if (kinds[j] == Kind::kNegative) greatest = std::max(greatest, s[j]);
    }
    for (size_t j = 0; j < s.size(); ++j) {
      const bool kept =
          kinds[j] == Kind::kPositive ? s[j] < greatest + o.eps : s[j] > least - o.eps;
      if (!kept) kinds[j] = Kind::kNone;
    }
  }
  double loss = 0;
  for (const Kind kind : {Kind::kPositive, Kind::kNegative}) {
    const double scale = kind == Kind::kPositive ? -o.alpha : o.beta;
    Row z(s.size());
    for (size_t j = 0; j < s.size(); ++j) z[j] = scale * (s[j] - o.lambda);
    const double all = LogSumExp(z, kinds, kind);
    if (std::isinf(all)) continue;
    loss += Softplus(all) / std::abs(scale);
    for (size_t j = 0; j < s.size(); ++j) {
      if (kinds[j] == kind) {
        (*slopes)[j] = std::copysign(1.0, scale) * std::exp(z[j] - Softplus(all));
      }
    }
  }
  return loss;
}

template <typename T>
std::vector<T> Units(int64_t rows, int64_t dim, std::mt19937_64* random) {
  std::normal_distribution<double> normal;
  std::vector<T> values(static_cast<size_t>(rows * dim));
  for (int64_t i = 0; i < rows; ++i) {
    Row row(static_cast<size_t>(dim));
    double norm = 1e-30;
    for (double& v : row) norm += (v = normal(*random)) * v;
    for (int64_t d = 0; d < dim; ++d) {
      values[static_cast<size_t>(i * dim + d)] =
          static_cast<T>(row[static_cast<size_t>(d)] / std::sqrt(norm));
    }
  }
  return values;
}

template <typename T>
double Product(const std::vector<T>& a, int64_t i, const std::vector<T>& b, int64_t j,
               int64_t dim) {
  double sum = 0;
  for (int64_t d = 0; d < dim; ++d) {
    sum += static_cast<double>(a[static_cast<size_t>(i * dim + d)]) *
           b[static_cast<size_t>(j * dim + d)];
  }
  return sum;
}

// to[i] += by * from[j]
template <typename T>
void AddRow(double by, const std::vector<T>& from, int64_t j, int64_t dim, int64_t i, Row* to) {
  for (int64_t d = 0; d < dim; ++d) {
    (*to)[static_cast<size_t>(i * dim + d)] += by * from[static_cast<size_t>(j * dim + d)];
  }
}

template <typename T>
bool Near(double found, double expected, const std::vector<T>& gradient, const Row& reference,
          const char* name, const Case& c) {
  // float32's rounding of a similarity counts 1 / temperature times, however small loss and
  // gradient are.
  const bool single = sizeof(T) == sizeof(float);
  const double tolerance = single ? 2e-5 : 1e-10, least = single ? 0.05 : 1e-3;
  double largest = single ? 0.5 : 1e-3, worst = 0;
  for (size_t k = 0; k < gradient.size(); ++k) {
    largest = std::max(largest, std::abs(reference[k]));
    worst = Worst({worst, std::abs(reference[k] - static_cast<double>(gradient[k]))});
  }
  const bool holds = worst <= tolerance * largest &&
                     std::abs(found - expected) <= tolerance * (least + std::abs(expected));
  if (!holds) {
    std::printf("%s: rows %ld dim %ld sessions %ld part %d gradient %d: %g for %g, off by %g\n",
                name, static_cast<long>(c.rows), static_cast<long>(c.dim),
                static_cast<long>(c.sessions), c.part, c.gradient, found, expected,
                worst / largest);
  }
  return holds;
}

// `kernel` and `anchor` are one of the two losses of similarities and its plain form.
template <typename T>
bool Holds(const Case& c, const char* name,
           const std::function<SimilarityResult(const SimilarityBatch<T>&, T*)>& kernel,
           const std::function<double(const Row&, const std::vector<Kind>&, Row*)>& anchor) {
  std::mt19937_64 random(static_cast<uint64_t>(c.rows * 31 + c.dim));
  const std::vector<T> e = Units<T>(c.rows, c.dim, &random);
  const auto n = static_cast<size_t>(c.rows);
  std::vector<int64_t> labels(n), sessions(n);
  for (size_t i = 0; i < n; ++i) {
    labels[i] = static_cast<int64_t>(random() % (n / 3 + 1));
    sessions[i] =
        c.sessions > 0 ? static_cast<int64_t>(random() % static_cast<uint64_t>(c.sessions)) : 0;
  }
  const int64_t first = c.part ? c.rows / 3 : 0, anchors = c.part ? c.rows / 2 : c.rows;
  const SimilarityBatch<T> batch{
      e.data(), labels.data(), c.sessions > 0 ? sessions.data() : nullptr, c.rows, c.dim,
      first,    anchors};
  std::vector<T> gradient = Unwritten<T>(c.gradient ? e.size() : 0);
  const SimilarityResult found = kernel(batch, c.gradient ? gradient.data() : nullptr);
  Row reference(e.size());
  double loss = 0;
  for (int64_t i = first; i < first + anchors; ++i) {
    Row s(n), slopes(n);
    std::vector<Kind> kinds(n, Kind::kNegative);
    for (size_t j = 0; j < n; ++j) {
      const auto own = static_cast<size_t>(i);
      s[j] = Product(e, i, e, static_cast<int64_t>(j), c.dim);
      if (labels[j] == labels[own] && sessions[j] == sessions[own]) kinds[j] = Kind::kPositive;
    }
    kinds[static_cast<size_t>(i)] = Kind::kNone;
    loss += anchor(s, kinds, &slopes) / static_cast<double>(n);
    for (int64_t j = 0; j < c.rows; ++j) {
      const double by = slopes[static_cast<size_t>(j)] / static_cast<double>(n);
      AddRow(by, e, j, c.dim, i, &reference);
      AddRow(by, e, i, c.dim, j, &reference);
    }
  }
  return found.bad_row < 0 && Near(found.loss, loss, gradient, reference, name, c);
}

template <typename T>
bool SoftmaxHolds(const Case& c) {
  std::mt19937_64 random(static_cast<uint64_t>(c.rows * 31 + c.dim));
  const int64_t items = c.rows + (c.part ? 5 : 0);
  const std::vector<T> q = Units<T>(c.rows, c.dim, &random), v = Units<T>(items, c.dim, &random);
  std::vector<int64_t> ids(static_cast<size_t>(items));
  std::vector<T> weights(static_cast<size_t>(c.rows));
  for (int64_t& id : ids)
    id = static_cast<int64_t>(random() % static_cast<uint64_t>(items / 2 + 1));
  for (T& weight : weights) weight = static_cast<T>(random() % 4) / 2;
  const double temperature = 0.1;
  const bool named = c.sessions > 0;
  // With `part` the last two items are negatives of only the last query, the one before has no id.
  const int64_t owned = c.part && c.rows > 0 ? 2 : 0;
  const std::vector<int64_t> owners(2, c.rows - 1);
  const int64_t identified = items - owned - (owned > 0 ? 1 : 0);
  const SoftmaxBatch<T> batch{q.data(),
                              v.data(),
                              named ? ids.data() : nullptr,
                              named ? weights.data() : nullptr,
                              c.rows,
                              items,
                              c.dim,
                              temperature,
                              identified,
                              owned > 0 ? owners.data() : nullptr,
                              owned};
  std::vector<T> by_query = Unwritten<T>(c.gradient ? q.size() : 0),
                 by_item = Unwritten<T>(c.gradient ? v.size() : 0);
  const SoftmaxResult found =
      InBatchSoftmax(batch, OwnThreads(3), c.gradient ? by_query.data() : nullptr,
                     c.gradient ? by_item.data() : nullptr);
  Row query_reference(q.size()), item_reference(v.size());
  double loss = 0, sum = 0;
  for (int64_t i = 0; i < c.rows; ++i) sum += named ? weights[static_cast<size_t>(i)] : T{1};
  for (int64_t i = 0; i < c.rows && sum > 0; ++i) {
    const double weight = (named ? weights[static_cast<size_t>(i)] : 1.0) / sum;
    Row z(static_cast<size_t>(items));
    std::vector<Kind> kinds(z.size(), Kind::kNegative);
    for (int64_t j = 0; j < items; ++j) {
      const auto at = static_cast<size_t>(j);
      z[at] = Product(q, i, v, j, c.dim) / temperature;
      const bool same = j < identified && ids[at] == ids[static_cast<size_t>(i)];
      const bool of_another = j >= items - owned && i != owners[0];
      if ((named && j != i && same) || of_another) kinds[at] = Kind::kNone;
    }
    const double all = LogSumExp(z, kinds, Kind::kNegative);
    loss += weight * (all - z[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < items; ++j) {
      const auto at = static_cast<size_t>(j);
      if (kinds[at] == Kind::kNone) continue;
      const double by = weight * (std::exp(z[at] - all) - (j == i)) / temperature;
      AddRow(by, v, j, c.dim, i, &query_reference);
      AddRow(by, q, i, c.dim, j, &item_reference);
    }
  }
  return Near(found.loss, loss, by_query, query_reference, "in-batch softmax by query", c) &&
         Near(found.loss, loss, by_item, item_reference, "in-batch softmax by item", c);
}

template <typename T>
int64_t Failures(const Case& c) {
  int64_t failed = 0;
  const OwnThreads threads(3);
  const CircleOptions circle;
  failed += !Holds<T>(
      c, "circle",
      [&](const SimilarityBatch<T>& batch, T* gradient) {
        return CircleLoss(batch, circle, threads, gradient);
      },
      [&](const Row& s, const std::vector<Kind>& kinds, Row* slopes) {
        return Circle(circle, s, kinds, slopes);
      });
  for (const bool mining : {false, true}) {
    MultiSimilarityOptions multi;
    multi.mining = mining;
    failed += !Holds<T>(
        c, mining ? "multi-similarity mined" : "multi-similarity",
        [&](const SimilarityBatch<T>& batch, T* gradient) {
          return MultiSimilarityLoss(batch, multi, threads, gradient);
        },
        [&](const Row& s, const std::vector<Kind>& kinds, Row* slopes) {
          return MultiSimilarity(multi, s, kinds, slopes);
        });
  }
  return failed + !SoftmaxHolds<T>(c);
}

// Products that overflow: of one query with one item, and of all rows.
int64_t OverflowFailures() {
  constexpr float kLarge = 1e25F;
  constexpr int64_t kRows = 400, kDim = 3;
  const OwnThreads threads(3);
  std::vector<float> by_query(kRows * kDim), by_item(by_query);
  const auto undefined = [&](const SoftmaxBatch<float>& batch) {
    const double loss = InBatchSoftmax(batch, threads, by_query.data(), by_item.data()).loss;
    const auto nan = [](float value) { return std::isnan(value); };
    return std::isnan(loss) && std::all_of(by_query.begin(), by_query.end(), nan) &&
           std::all_of(by_item.begin(), by_item.end(), nan);
  };
  int64_t failed = 0;
  for (const float sign : {1.0F, -1.0F}) {
    for (const int64_t item : {int64_t{0}, int64_t{7}, kRows - 1}) {
      std::vector<float> q(kRows * kDim, 0.5F), v(kRows * kDim, 0.25F), weights(kRows, 1.0F);
      q[0] = kLarge;
      v[static_cast<size_t>(item * kDim)] = sign * kLarge;
      weights[0] = 0;
      for (const float* each :
           {static_cast<const float*>(weights.data()), static_cast<const float*>(nullptr)}) {
        // A query's own product is one of doubles.
        failed +=
            undefined({q.data(), v.data(), nullptr, each, kRows, kRows, kDim, 2}) != (item > 0);
      }
    }
  }
  const std::vector<float> e(kRows * kDim, kLarge);
  std::vector<int64_t> labels(kRows);
  for (int64_t i = 0; i < kRows; ++i) labels[static_cast<size_t>(i)] = i % 2;
  failed += !undefined({e.data(), e.data(), nullptr, nullptr, kRows, kRows, kDim, 2});
  const SimilarityBatch<float> batch{e.data(), labels.data(), nullptr, kRows, kDim, 0, kRows};
  failed += std::isfinite(CircleLoss(batch, {}, threads, by_query.data()).loss);
  failed += std::isfinite(MultiSimilarityLoss(batch, {}, threads, by_query.data()).loss);
  if (failed > 0) std::printf("products that overflow: %ld failed\n", static_cast<long>(failed));
  return failed;
}

int Run(bool small) {
  const std::vector<int64_t> sizes = small ? std::vector<int64_t>{0, 1, 2, 37, 300}
                                           : std::vector<int64_t>{0, 1, 2, 3, 37, 128, 300, 1100};
  int64_t cases = 15, failed = OverflowFailures();
  for (const int64_t rows : sizes) {
    for (const int64_t dim : {1, 7, 32}) {
      for (const int64_t sessions : {0, 2}) {
        for (const bool part : {false, true}) {
          for (const bool gradient : {false, true}) {
            const Case c{rows, dim, sessions, part, gradient};
            failed += Failures<float>(c) + Failures<double>(c);
            cases += 8;
          }
        }
      }
    }
  }
  std::printf("similarity: %ld cases, %ld failed\n", static_cast<long>(cases),
              static_cast<long>(failed));
  return failed > 0;
}

}  // namespace
}  // namespace hvdrec

int main(int argc, char** argv) {
  return hvdrec::Run(argc > 1 && std::strcmp(argv[1], "--short") == 0);
}
