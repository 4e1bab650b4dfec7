// Inputs over which the CUDA twins of the losses are held against the CPU's, and the comparison.

#ifndef HVDREC_TESTS_LOSS_CASES_H_
#define HVDREC_TESTS_LOSS_CASES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/pairwise.h"

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

  std::string Name() const {
    return std::string(hvdrec::Name(options.loss)) + " rows " + std::to_string(rows) + " grades " +
           std::to_string(grades) + " sessions " + std::to_string(sessions) + " spread " +
           std::to_string(spread) + (weighted ? " weighted" : "") +
           (options.margin != 0 ? " margin" : "");
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
      scores.push_back(static_cast<T>(normal(random) * c.spread));
      labels.push_back(static_cast<T>(pick(c.grades > 0 ? c.grades : c.rows)) / 2);
      if (c.weighted) weights.push_back(static_cast<T>(pick(4)) / 2);
      if (c.sessions > 0) sessions.push_back(pick(c.sessions) - 1);
    }
  }

  std::vector<T> scores, labels, weights;
  std::vector<int64_t> sessions;
};

// How far the values lie from the expected ones, relative to the largest of those.
template <typename T>
double Difference(const std::vector<T>& found, const std::vector<T>& expected) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    const double off = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    if (!(off <= worst)) worst = off;  // NaN too
  }
  return worst == 0 ? 0 : worst / std::max(largest, 1e-290);
}

inline double Difference(double found, double expected) {
  return found == expected ? 0 : std::abs(found - expected) / std::max(std::abs(expected), 1e-290);
}

}  // namespace hvdrec

#endif  // HVDREC_TESTS_LOSS_CASES_H_
