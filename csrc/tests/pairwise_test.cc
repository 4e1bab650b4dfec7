// Runs the pairwise kernels over a grid of inputs and compares them with all pairs in plain loops.
// Made for sanitizers (`make sanitize`), which report buffer overruns and overflows as errors.

#include "kernels/pairwise/pairwise.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/pairwise/bin_sum.h"
#include "kernels/pairwise/bins.h"
#include "tests/outputs.h"

namespace hvdrec {
namespace {

struct Case {
  int64_t rows;
  int64_t grades;
  int64_t sessions;  // 0: none
  bool weighted;
  double scale;
  PairwiseOptions options;
};

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

void Pair(const PairwiseOptions& o, double t, double* value, double* slope) {
  const double x = o.margin - t, reach = std::max(x, 0.0);
  const double miss = std::exp(-Softplus(-x)), factor = std::pow(miss, o.gamma);
  switch (o.loss) {
    case PairLoss::kLogistic:
      *value = Softplus(x);
      *slope = -miss;
      return;
    case PairLoss::kFocal:
      *value = factor * Softplus(x);
      *slope = -factor * (o.gamma * (1 - miss) * Softplus(x) + miss);
      return;
    case PairLoss::kHinge:
      *value = reach;
      *slope = x > 0 ? -1 : 0;
      return;
    case PairLoss::kSquaredHinge:
      *value = reach * reach;
      *slope = -2 * reach;
      return;
    case PairLoss::kSquare:
      *value = x * x;
      *slope = -2 * x;
      return;
  }
}

template <typename T>
bool Holds(const Case& c) {
  std::mt19937_64 random(static_cast<uint64_t>(c.rows * 31 + c.grades));
  std::normal_distribution<double> normal;
  const auto n = static_cast<size_t>(c.rows);
  // Allocated with the exact size, so that reading past an end is detected.
  std::vector<T> scores(n), labels(n), weights(n), gradient = Unwritten<T>(n);
  std::vector<int64_t> sessions(n);
  for (size_t i = 0; i < n; ++i) {
    scores[i] = static_cast<T>(normal(random) * c.scale);
    labels[i] = static_cast<T>(random() % static_cast<uint64_t>(c.grades));
    weights[i] = static_cast<T>(random() % 4) / 2;
    sessions[i] =
        c.sessions > 0 ? static_cast<int64_t>(random() % static_cast<uint64_t>(c.sessions)) : 0;
  }
  const PairwiseRows<T> rows{scores.data(), labels.data(), c.weighted ? weights.data() : nullptr,
                             c.sessions > 0 ? sessions.data() : nullptr, c.rows};
  const PairwiseResult found = Pairwise<T>(rows, c.options, OwnThreads(3), gradient.data());
  if (c.options.hardest < 1) {
    return std::isfinite(found.loss) && std::all_of(gradient.begin(), gradient.end(),
                                                    [](T slope) { return std::isfinite(slope); });
  }
  std::vector<double> expected(n);
  double loss = 0, pairs = 0;
  const PairwiseOptions& o = c.options;
  for (size_t i = 0; i < n; ++i) {
    const double weight = c.weighted ? static_cast<double>(weights[i]) : 1.0;
    for (size_t j = 0; weight != 0 && j < n; ++j) {
      if (!(labels[i] > labels[j]) || sessions[i] != sessions[j]) continue;
      const double t = scores[i] / o.temperature - o.label_scale * labels[i] -
                       (scores[j] / o.temperature - o.label_scale * labels[j]);
      if (!(t < o.limit)) continue;
      double value, slope;
      Pair(o, t, &value, &slope);
      loss += weight * value;
      pairs += 1;
      expected[i] += weight * slope / o.temperature;
      expected[j] -= weight * slope / o.temperature;
    }
  }
  const double scale = pairs > 0 ? 1 / pairs : 0;
  double largest = 1e-30, worst = 0;
  for (size_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::abs(expected[i] * scale));
    worst = Worst({worst, std::abs(expected[i] * scale - static_cast<double>(gradient[i]))});
  }
  const bool holds = found.pairs == pairs && worst <= 1e-6 * largest &&
                     std::abs(found.loss - loss * scale) <= 1e-7 * loss * scale + 1e-15;
  if (!holds) {
    std::printf(
        "rows %ld grades %ld sessions %ld weighted %d scale %g loss %d: %g for %g, gradient off by "
        "%g\n",
        static_cast<long>(c.rows), static_cast<long>(c.grades), static_cast<long>(c.sessions),
        c.weighted, c.scale, static_cast<int>(o.loss), found.loss, loss * scale, worst / largest);
  }
  return holds;
}

// Whether many copies of rows have the loss of the rows themselves, and the same gradient for each
// copy: an oracle for more rows than all pairs could be enumerated for, shared by several threads.
template <typename T>
bool HoldsManyTimes(const Case& c) {
  constexpr int64_t kCopies = 100;
  std::mt19937_64 random(static_cast<uint64_t>(c.rows * 7 + c.grades));
  std::normal_distribution<double> normal;
  std::vector<T> scores, labels, weights;
  std::vector<int64_t> sessions;
  for (int64_t i = 0; i < c.rows; ++i) {
    scores.push_back(static_cast<T>(normal(random) * c.scale));
    labels.push_back(static_cast<T>(random() % static_cast<uint64_t>(c.grades)));
    weights.push_back(static_cast<T>(random() % 4) / 2);
    sessions.push_back(static_cast<int64_t>(random() % 3));
  }
  const auto sum = [&](int64_t count, std::vector<T>* gradient) {
    *gradient = Unwritten<T>(static_cast<size_t>(count));
    return Pairwise<T>({scores.data(), labels.data(), c.weighted ? weights.data() : nullptr,
                        c.sessions > 0 ? sessions.data() : nullptr, count},
                       c.options, OwnThreads(3), gradient->data());
  };
  std::vector<T> once, often;
  const PairwiseResult expected = sum(c.rows, &once);
  for (auto* column : {&scores, &labels, &weights}) {
    const std::vector<T> own = *column;
    for (int64_t k = 1; k < kCopies; ++k) column->insert(column->end(), own.begin(), own.end());
  }
  const std::vector<int64_t> own = sessions;
  for (int64_t k = 1; k < kCopies; ++k) sessions.insert(sessions.end(), own.begin(), own.end());
  const PairwiseResult found = sum(c.rows * kCopies, &often);
  double largest = 1e-30, worst = 0;
  for (size_t i = 0; i < often.size(); ++i) {
    const double wanted = once[i % once.size()] / static_cast<double>(kCopies);
    largest = std::max(largest, std::abs(wanted));
    worst = Worst({worst, std::abs(wanted - static_cast<double>(often[i]))});
  }
  const bool holds = found.pairs == expected.pairs * kCopies * kCopies && worst <= 1e-6 * largest &&
                     std::abs(found.loss - expected.loss) <= 1e-7 * expected.loss + 1e-15;
  if (!holds) {
    std::printf("many times: grades %ld sessions %ld loss %d: %g for %g, gradient off by %g\n",
                static_cast<long>(c.grades), static_cast<long>(c.sessions),
                static_cast<int>(c.options.loss), found.loss, expected.loss, worst / largest);
  }
  return holds;
}

// Whether three processes, the second without rows, compute from their parts what one computes from
// all rows.
template <typename T>
bool HoldsInParts(const Case& c) {
  std::mt19937_64 random(static_cast<uint64_t>(c.rows * 17 + c.grades));
  std::normal_distribution<double> normal;
  const auto n = static_cast<size_t>(c.rows);
  std::vector<T> scores(n), labels(n), weights(n), expected = Unwritten<T>(n);
  for (size_t i = 0; i < n; ++i) {
    scores[i] = static_cast<T>(normal(random) * c.scale);
    labels[i] = static_cast<T>(random() % static_cast<uint64_t>(c.grades));
    weights[i] = static_cast<T>(random() % 4) / 2;
  }
  const PairwiseResult whole = Pairwise<T>(
      {scores.data(), labels.data(), c.weighted ? weights.data() : nullptr, nullptr, c.rows},
      c.options, OwnThreads(3), expected.data());
  const int64_t ends[] = {c.rows / 3, c.rows / 3, c.rows};
  std::vector<PairwiseRows<T>> parts;
  std::vector<PairBinRows> own;
  std::vector<PairBin> gathered;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    parts.push_back({scores.data() + begin, labels.data() + begin,
                     c.weighted ? weights.data() + begin : nullptr, nullptr, end - begin});
    own.push_back(FindBins(parts.back(), c.options, OwnThreads(3)));
    gathered.insert(gathered.end(), own.back().bins.begin(), own.back().bins.end());
    begin = end;
  }
  const std::vector<PairBin> all =
      MergeBins(gathered.data(), static_cast<int64_t>(gathered.size()), 0);
  if (all.empty()) return c.rows == 0 || c.grades > 100 || c.scale > 100;
  std::vector<double> moments;
  for (size_t p = 0; p < parts.size(); ++p) {
    const std::vector<double> more = BinMoments(parts[p], c.options, own[p], all, OwnThreads(3));
    moments.resize(more.size());
    for (size_t k = 0; k < more.size(); ++k) moments[k] += more[k];
  }
  bool holds = true;
  double largest = 1e-30;
  for (const T wanted : expected) largest = std::max(largest, std::abs(double{wanted}));
  for (size_t p = 0; p < parts.size(); ++p) {
    std::vector<T> gradient = Unwritten<T>(static_cast<size_t>(parts[p].count));
    const PairwiseResult found = SumOverBins(parts[p], c.options, own[p], all, moments.data(),
                                             OwnThreads(3), gradient.data());
    holds = holds && found.pairs == whole.pairs &&
            std::abs(found.loss - whole.loss) <= 1e-7 * whole.loss + 1e-15;
    double worst = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      const double wanted = expected[i + static_cast<size_t>(parts[p].scores - scores.data())];
      worst = Worst({worst, std::abs(wanted - static_cast<double>(gradient[i]))});
    }
    holds = holds && worst <= 1e-6 * largest;
  }
  if (!holds) {
    std::printf("in parts: rows %ld grades %ld weighted %d scale %g loss %d\n",
                static_cast<long>(c.rows), static_cast<long>(c.grades), c.weighted, c.scale,
                static_cast<int>(c.options.loss));
  }
  return holds;
}

bool GoesByBins(const Case& c) {
  const PairwiseOptions& o = c.options;
  return c.sessions == 0 && (o.loss == PairLoss::kLogistic || o.loss == PairLoss::kFocal) &&
         std::isinf(o.limit) && o.hardest == 1;
}

int Run(bool small) {
  std::vector<PairwiseOptions> options;
  for (const PairLoss loss : {PairLoss::kLogistic, PairLoss::kFocal, PairLoss::kHinge,
                              PairLoss::kSquaredHinge, PairLoss::kSquare}) {
    PairwiseOptions o;
    o.loss = loss;
    options.push_back(o);
    o.margin = 0.7;
    o.temperature = 2;
    o.label_scale = 0.3;
    options.push_back(o);
    if (loss == PairLoss::kLogistic || loss == PairLoss::kFocal) {
      o.limit = 0.5;
      options.push_back(o);
    }
    if (loss == PairLoss::kSquare || loss == PairLoss::kSquaredHinge) continue;
    o.hardest = 0.3;
    options.push_back(o);
  }
  const std::vector<int64_t> sizes =
      small ? std::vector<int64_t>{0, 1, 2, 5, 129, 700}
            : std::vector<int64_t>{0, 1, 2, 3, 7, 48, 49, 127, 128, 129, 1000, 4099};
  int64_t cases = 0, failed = 0;
  for (const PairwiseOptions& o : options) {
    // How equal pairs share the last place depends on their number.
    for (int64_t grades = 2; grades <= 3 && o.hardest == 1; ++grades) {
      const Case c{700, grades, grades == 2 ? 0 : 3, grades == 3, 2.0, o};
      failed += grades == 2 ? !HoldsManyTimes<float>(c) : !HoldsManyTimes<double>(c);
      ++cases;
    }
    for (const int64_t rows : sizes) {
      for (const double scale : {0.0, 2.0, 1e5}) {
        for (const bool weighted : {false, true}) {
          for (const int64_t sessions : {int64_t{0}, int64_t{3}, rows / 4}) {
            for (const int64_t grades : {2, 5, 1000}) {
              const Case c{rows, grades, sessions, weighted, scale, o};
              failed += grades == 5 ? !Holds<double>(c) : !Holds<float>(c);
              ++cases;
              if (GoesByBins(c)) {
                failed += grades == 5 ? !HoldsInParts<double>(c) : !HoldsInParts<float>(c);
                ++cases;
              }
            }
          }
        }
      }
    }
  }
  std::printf("pairwise: %ld cases, %ld failed\n", static_cast<long>(cases),
              static_cast<long>(failed));
  return failed > 0;
}

}  // namespace
}  // namespace hvdrec

int main(int argc, char** argv) {
  return hvdrec::Run(argc > 1 && std::strcmp(argv[1], "--short") == 0);
}
