// Inputs on which the CUDA versions of the losses are compared with the CPU's, and the comparison.

#ifndef HVDREC_TESTS_LOSS_CASES_H_
#define HVDREC_TESTS_LOSS_CASES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/pairwise/pairwise.h"
#include "tests/outputs.h"

namespace hvdrec {

inline const char* Name(PairLoss loss) {
  constexpr const char* kNames[] = {"logistic", "focal", "hinge", "squared_hinge", "square"};
  return kNames[static_cast<int>(loss)];
}

struct PairwiseCase {
  int64_t rows;
  int64_t grades;    // 0: as many as rows
  int64_t sessions;  // 0: none
  bool weighted;
  double spread;  // of the scores; 0: all equal
  PairwiseOptions options;
  bool ties = false;  // scores in quarters; weights of either sign

  std::string Name() const {
    return std::string(hvdrec::Name(options.loss)) + " rows " + std::to_string(rows) + " grades " +
           std::to_string(grades) + " sessions " + std::to_string(sessions) + " spread " +
           std::to_string(spread) + (weighted ? " weighted" : "") +
           (options.margin != 0 ? " margin " + std::to_string(options.margin) : "") +
           (std::isfinite(options.limit) ? " limit " + std::to_string(options.limit) : "") +
           (options.hardest < 1 ? " hardest " + std::to_string(options.hardest) : "") +
           (ties ? " ties" : "");
  }
};

template <typename T>
struct PairwiseInput {
  explicit PairwiseInput(const PairwiseCase& c) {
    std::mt19937_64 random(static_cast<uint64_t>(c.rows * 31 + c.grades));
    std::normal_distribution<double> normal;
    const auto pick = [&](int64_t count) {
      return static_cast<int64_t>(random() % static_cast<uint64_t>(std::max<int64_t>(count, 1)));
    };
    for (int64_t i = 0; i < c.rows; ++i) {
      const double score = normal(random) * c.spread;
      scores.push_back(static_cast<T>(c.ties ? std::round(score * 4) / 4 : score));
      labels.push_back(static_cast<T>(pick(c.grades > 0 ? c.grades : c.rows)) / 2);
      if (c.weighted) weights.push_back(static_cast<T>(pick(4) - c.ties) / 2);
      if (c.sessions > 0) sessions.push_back(pick(c.sessions) - 1);
    }
  }

  std::vector<T> scores, labels, weights;
  std::vector<int64_t> sessions;
};

// Embeddings of norm 1 with classes of about `size` rows, for circle and multi-similarity.
template <typename T>
struct SimilarityInput {
  SimilarityInput(int64_t rows, int64_t dim, int64_t size, int64_t sessions_wanted) {
    std::mt19937_64 random(static_cast<uint64_t>(rows * 31 + dim));
    std::normal_distribution<double> normal;
    const auto classes = static_cast<uint64_t>(std::max<int64_t>(rows / size, 1));
    for (int64_t i = 0; i < rows; ++i) {
      std::vector<double> row;
      double norm = 0;
      for (int64_t d = 0; d < dim; ++d) {
        row.push_back(normal(random));
        norm += row.back() * row.back();
      }
      for (const double value : row) embeddings.push_back(static_cast<T>(value / std::sqrt(norm)));
      labels.push_back(static_cast<int64_t>(random() % classes) - 1);
      if (sessions_wanted > 0) {
        sessions.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(sessions_wanted)));
      }
    }
  }

  std::vector<T> embeddings;
  std::vector<int64_t> labels, sessions;
};

// Queries, items and their further inputs, for the in-batch softmax.
template <typename T>
struct SoftmaxInput {
  SoftmaxInput(int64_t queries, int64_t items, int64_t dim, bool with_ids, bool weighted)
      : query_values(SimilarityInput<T>(queries, dim, 1, 0).embeddings),
        item_values(SimilarityInput<T>(items + 1, dim, 1, 0).embeddings) {
    item_values.resize(static_cast<size_t>(items * dim));
    std::mt19937_64 random(static_cast<uint64_t>(queries));
    for (int64_t i = 0; with_ids && i < items; ++i) {
      ids.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(items)));
    }
    for (int64_t i = 0; weighted && i < queries; ++i) {
      weights.push_back(static_cast<T>(random() % 4) / 2);
    }
  }

  std::vector<T> query_values, item_values, weights;
  std::vector<int64_t> ids;
};

template <typename V>
const V* OrNull(const std::vector<V>& values) {
  return values.empty() ? nullptr : values.data();
}

// The difference of the values from the expected ones, relative to the largest of those (or to
// `scale` if that is larger).
template <typename T>
double Difference(const std::vector<T>& found, const std::vector<T>& expected,
                  double scale = 1e-290) {
  double largest = scale, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    worst =
        Worst({worst, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]))});
  }
  return worst == 0 ? 0 : worst / largest;
}

inline double Difference(double found, double expected, double scale = 1e-290) {
  return found == expected ? 0 : std::abs(found - expected) / std::max(std::abs(expected), scale);
}

}  // namespace hvdrec

#endif  // HVDREC_TESTS_LOSS_CASES_H_
