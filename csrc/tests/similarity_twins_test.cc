// Runs the CUDA versions of circle, multi-similarity and in-batch softmax on an emulated machine
// and compares them with their definitions in plain loops, in double.

#include <cstring>
#include <limits>

#include "kernels/similarity/gpu/in_batch_softmax_twin.h"
#include "kernels/similarity/gpu/similarity_twin.h"
#include "tests/emulated_machine.h"
#include "tests/loss_cases.h"
#include "tests/tally.h"

namespace hvdrec {
namespace {

// Exponents of up to 100 in float are rounded by 4e-6.
template <typename T>
constexpr double kTolerance = sizeof(T) == sizeof(float) ? 2e-5 : 1e-12;

struct Expected {
  double loss = 0;
  std::vector<double> gradient;
};

template <typename T>
double Dot(const T* a, const T* b, int64_t dim) {
  double sum = 0;
  for (int64_t d = 0; d < dim; ++d) sum += static_cast<double>(a[d]) * b[d];
  return sum;
}

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// One anchor's loss and its derivatives by the similarities, given those of positives and of
// negatives.
struct Circle {
  CircleOptions options;
  bool mining() const { return false; }
  double eps() const { return 0; }

  double Loss(const std::vector<double>& positives, const std::vector<double>& negatives,
              std::vector<double>* by_positives, std::vector<double>* by_negatives) const {
    if (positives.empty() || negatives.empty()) return 0;
    const double m = options.margin, g = options.gamma;
    double p = 0, n = 0;  // small enough exponents need no shift
    for (const double s : positives) p += std::exp(-g * std::max(1 + m - s, 0.0) * (s - 1 + m));
    for (const double s : negatives) n += std::exp(g * std::max(s + m, 0.0) * (s - m));
    const double outer = p * n / (1 + p * n);
    for (size_t k = 0; k < positives.size(); ++k) {
      const double s = positives[k], weight = g * std::max(1 + m - s, 0.0);
      (*by_positives)[k] = -outer * weight * std::exp(-weight * (s - 1 + m)) / p;
    }
    for (size_t k = 0; k < negatives.size(); ++k) {
      const double s = negatives[k], weight = g * std::max(s + m, 0.0);
      (*by_negatives)[k] = outer * weight * std::exp(weight * (s - m)) / n;
    }
    return std::log1p(p * n);
  }
};

struct MultiSimilarity {
  MultiSimilarityOptions options;
  bool mining() const { return options.mining; }
  double eps() const { return options.eps; }

  double Loss(const std::vector<double>& positives, const std::vector<double>& negatives,
              std::vector<double>* by_positives, std::vector<double>* by_negatives) const {
    const double a = options.alpha, b = options.beta, l = options.lambda;
    double p = 0, n = 0;
    for (const double s : positives) p += std::exp(-a * (s - l));
    for (const double s : negatives) n += std::exp(b * (s - l));
    for (size_t k = 0; k < positives.size(); ++k) {
      (*by_positives)[k] = -std::exp(-a * (positives[k] - l)) / (1 + p);
    }
    for (size_t k = 0; k < negatives.size(); ++k) {
      (*by_negatives)[k] = std::exp(b * (negatives[k] - l)) / (1 + n);
    }
    return std::log1p(p) / a + std::log1p(n) / b;
  }
};

template <typename T, typename Form>
Expected AllAnchors(const SimilarityBatch<T>& batch, const Form& form) {
  Expected expected;
  expected.gradient.resize(static_cast<size_t>(batch.rows * batch.dim));
  for (int64_t a = batch.first_anchor; a < batch.first_anchor + batch.anchors; ++a) {
    const auto similarity = [&](int64_t j) {
      return Dot(batch.embeddings + a * batch.dim, batch.embeddings + j * batch.dim, batch.dim);
    };
    std::vector<int64_t> rows[2];
    std::vector<double> s[2], by[2];
    for (int64_t j = 0; j < batch.rows; ++j) {
      if (j == a) continue;
      const bool positive = batch.labels[j] == batch.labels[a] &&
                            (batch.sessions == nullptr || batch.sessions[j] == batch.sessions[a]);
      rows[positive].push_back(j);
      s[positive].push_back(similarity(j));
    }
    if (form.mining()) {
      double least = std::numeric_limits<double>::infinity(), greatest = -least;
      for (const double value : s[1]) least = std::min(least, value - form.eps());
      for (const double value : s[0]) greatest = std::max(greatest, value + form.eps());
      for (const int kind : {0, 1}) {
        std::vector<int64_t> kept_rows;
        std::vector<double> kept;
        for (size_t k = 0; k < s[kind].size(); ++k) {
          if (kind == 1 ? s[1][k] < greatest : s[0][k] > least) {
            kept.push_back(s[kind][k]);
            kept_rows.push_back(rows[kind][k]);
          }
        }
        rows[kind] = kept_rows;
        s[kind] = kept;
      }
    }
    for (const int kind : {0, 1}) by[kind].resize(s[kind].size());
    const double mean = 1.0 / static_cast<double>(batch.rows);
    expected.loss += mean * form.Loss(s[1], s[0], &by[1], &by[0]);
    for (const int kind : {0, 1}) {
      for (size_t k = 0; k < by[kind].size(); ++k) {
        const int64_t j = rows[kind][k];
        for (int64_t d = 0; d < batch.dim; ++d) {
          expected.gradient[static_cast<size_t>(a * batch.dim + d)] +=
              mean * by[kind][k] * batch.embeddings[j * batch.dim + d];
          expected.gradient[static_cast<size_t>(j * batch.dim + d)] +=
              mean * by[kind][k] * batch.embeddings[a * batch.dim + d];
        }
      }
    }
  }
  return expected;
}

template <typename T>
std::vector<double> Wide(const std::vector<T>& values) {
  return std::vector<double>(values.begin(), values.end());
}

template <typename T, typename Form, typename Definition>
void CheckSimilarity(const SimilarityBatch<T>& batch, const Form& form,
                     const Definition& definition, const std::string& name, Tally* tally) {
  const Expected expected = AllAnchors(batch, definition);
  std::vector<T> found = Unwritten<T>(expected.gradient.size()), again = found;
  EmulatedMachine first(1), second(2);
  const SimilarityResult twin = RunSimilarityTwin(batch, form, first, found.data());
  const SimilarityResult other = RunSimilarityTwin(batch, form, second, again.data());
  const bool same = twin.loss == other.loss && found == again;
  const double loss = Difference(twin.loss, expected.loss);
  const double gradient = Difference(Wide(found), expected.gradient);
  tally->Count(same && twin.bad_row == -1 && loss <= kTolerance<T> && gradient <= kTolerance<T>,
               name + " rows " + std::to_string(batch.rows) + " dim " + std::to_string(batch.dim) +
                   " anchors " + std::to_string(batch.anchors) +
                   (same ? "" : ", depends on the order of threads"),
               loss, gradient);
}

template <typename T>
void CheckSimilarities(int64_t rows, int64_t dim, int64_t sessions, bool all, Tally* tally) {
  const SimilarityInput<T> input(rows, dim, 4, sessions);
  const int64_t first = all ? 0 : rows / 3, anchors = all ? rows : rows / 2;
  const SimilarityBatch<T> batch{input.embeddings.data(),
                                 input.labels.data(),
                                 OrNull(input.sessions),
                                 rows,
                                 dim,
                                 first,
                                 anchors};
  const CircleOptions circle;
  CheckSimilarity(batch, similarity_steps::CircleForm<T>(circle), Circle{circle}, "circle", tally);
  MultiSimilarityOptions options;
  options.lambda = 0.5;
  CheckSimilarity(batch, similarity_steps::MultiSimilarityForm<T>(options),
                  MultiSimilarity{options}, "multi-similarity", tally);
  options.mining = true;
  CheckSimilarity(batch, similarity_steps::MultiSimilarityForm<T>(options),
                  MultiSimilarity{options}, "multi-similarity, mined", tally);
}

template <typename T>
void CheckSoftmax(int64_t queries, int64_t items, int64_t dim, bool ids, bool weighted,
                  Tally* tally) {
  const SoftmaxInput<T> input(queries, items, dim, ids, weighted);
  // Of the items that aren't a query's own every other one, as far as there are queries, has an
  // owner.
  const int64_t owned = queries > 0 && ids ? (items - queries) / 2 : 0;
  std::vector<int64_t> owners(static_cast<size_t>(owned));
  for (int64_t o = 0; o < owned; ++o) owners[static_cast<size_t>(o)] = o * 7 % queries;
  const SoftmaxBatch<T> batch{input.query_values.data(),
                              input.item_values.data(),
                              OrNull(input.ids),
                              OrNull(input.weights),
                              queries,
                              items,
                              dim,
                              0.25,
                              -1,
                              owned ? owners.data() : nullptr,
                              owned};
  double loss = 0, total = 0;
  std::vector<double> by_query(input.query_values.size()), by_item(input.item_values.size());
  for (int64_t i = 0; i < queries; ++i) {
    total += weighted ? static_cast<double>(batch.weights[i]) : 1.0;
  }
  for (int64_t i = 0; total > 0 && items > 1 && i < queries; ++i) {
    std::vector<double> terms(static_cast<size_t>(items));
    double sum = 0;
    for (int64_t j = 0; j < items; ++j) {
      if (j >= batch.shared()) {
        if (batch.owners[j - batch.shared()] != i) continue;
      } else if (j != i && ids && batch.item_ids[j] == batch.item_ids[i]) {
        continue;
      }
      terms[static_cast<size_t>(j)] = std::exp(
          Dot(batch.query_values + i * dim, batch.item_values + j * dim, dim) / batch.temperature);
      sum += terms[static_cast<size_t>(j)];
    }
    const double share = (weighted ? static_cast<double>(batch.weights[i]) : 1.0) / total;
    loss -= share * std::log(terms[static_cast<size_t>(i)] / sum);
    for (int64_t j = 0; j < items; ++j) {
      const double by =
          share * (terms[static_cast<size_t>(j)] / sum - (i == j)) / batch.temperature;
      for (int64_t d = 0; d < dim; ++d) {
        by_query[static_cast<size_t>(i * dim + d)] += by * batch.item_values[j * dim + d];
        by_item[static_cast<size_t>(j * dim + d)] += by * batch.query_values[i * dim + d];
      }
    }
  }
  std::vector<T> query_gradient = Unwritten<T>(by_query.size()),
                 item_gradient = Unwritten<T>(by_item.size()), other_query = query_gradient,
                 other_item = item_gradient;
  EmulatedMachine first(1), second(2);
  const SoftmaxResult twin =
      RunInBatchSoftmaxTwin(batch, first, query_gradient.data(), item_gradient.data());
  const SoftmaxResult other =
      RunInBatchSoftmaxTwin(batch, second, other_query.data(), other_item.data());
  const bool same =
      twin.loss == other.loss && query_gradient == other_query && item_gradient == other_item;
  // 1 minus a probability near 1 has the rounding error of 1.
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(queries, 1));
  const double off = Worst({Difference(Wide(query_gradient), by_query, scale),
                            Difference(Wide(item_gradient), by_item, scale)});
  tally->Count(same && Difference(twin.loss, loss) <= kTolerance<T> && off <= kTolerance<T>,
               "softmax queries " + std::to_string(queries) + " items " + std::to_string(items) +
                   " dim " + std::to_string(dim) + (ids ? " ids" : "") +
                   (weighted ? " weighted" : "") +
                   (same ? "" : ", depends on the order of threads"),
               Difference(twin.loss, loss), off);
}

// Scores so far apart that a sum without a moving shift would overflow, and bad rows.
void CheckExtremes(Tally* tally) {
  std::vector<float> values{300, 0, -300, 0, 0, 1, 299, 0};
  const SoftmaxBatch<float> batch{values.data(), values.data(), nullptr, nullptr, 4, 4, 2, 1.0};
  std::vector<float> a(8), b(8);
  EmulatedMachine machine(3);
  const SoftmaxResult far = RunInBatchSoftmaxTwin(batch, machine, a.data(), b.data());
  // Query 3's own logit 89401 is 299 below the greatest, query 2's loss is log(3 + e) - 1.
  const double expected = (299 + std::log(3 + std::exp(1.0)) - 1) / 4;
  tally->Count(Difference(far.loss, expected) < 1e-6, "softmax, far apart",
               Difference(far.loss, expected), 0);
  // A product that overflows in either direction, in each place.
  for (const float large : {1e25F, -1e25F}) {
    for (const int64_t item : {0, 1, 2, 3}) {
      std::vector<float> q(8, 0.5F), v(8, 0.25F);
      q[0] = 1e25F;
      v[static_cast<size_t>(2 * item)] = large;
      const SoftmaxBatch<float> overflowing{q.data(), v.data(), nullptr, nullptr, 4, 4, 2, 1.0};
      const double loss = RunInBatchSoftmaxTwin(overflowing, machine, a.data(), b.data()).loss;
      const bool undefined = std::isnan(loss) && std::isnan(a[7]) && std::isnan(b[0]);
      // The query's own product is one of doubles; a negative far below the others is without
      // effect.
      const bool defined = std::isfinite(loss) && std::isfinite(a[7]) && std::isfinite(b[0]);
      tally->Count(item > 0 && large > 0 ? undefined : defined || (item > 0 && undefined),
                   "softmax, overflow", 0, 0);
    }
  }
  values[5] = std::numeric_limits<float>::quiet_NaN();
  const SoftmaxResult bad = RunInBatchSoftmaxTwin(batch, machine, a.data(), b.data());
  tally->Count(bad.bad_query == 2 && bad.bad_item == 2 && std::isnan(bad.loss) && std::isnan(b[0]),
               "softmax, bad row", 0, 0);
  const std::vector<int64_t> labels{1, 1, 2, 2};
  const SimilarityBatch<float> rows{values.data(), labels.data(), nullptr, 4, 2, 0, 4};
  const SimilarityResult circle =
      RunSimilarityTwin(rows, similarity_steps::CircleForm<float>({}), machine, a.data());
  tally->Count(circle.bad_row == 2 && std::isnan(circle.loss) && std::isnan(a[7]),
               "circle, bad row", 0, 0);
}

int Run(bool small) {
  Tally tally;
  const std::vector<int64_t> sizes = small ? std::vector<int64_t>{0, 1, 2, 65, 130}
                                           : std::vector<int64_t>{0, 1, 2, 63, 64, 65, 700};
  for (const int64_t rows : sizes) {
    for (const int64_t dim : {1, 8, 67}) {
      if (small && rows > 65 && dim > 8) continue;
      CheckSimilarities<float>(rows, dim, 0, true, &tally);
      CheckSimilarities<double>(rows, dim, 3, false, &tally);
      CheckSoftmax<float>(rows, rows, dim, false, true, &tally);
      CheckSoftmax<double>(rows, rows + std::max<int64_t>(rows / 2, 1), dim, true, false, &tally);
    }
  }
  CheckExtremes(&tally);
  return tally.End("similarity twins");
}

}  // namespace
}  // namespace hvdrec

int main(int argc, char** argv) {
  return hvdrec::Run(argc > 1 && std::strcmp(argv[1], "--short") == 0);
}
