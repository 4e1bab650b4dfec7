#include "kernels/pairwise/sweep.h"

#include <cmath>

namespace hvdrec {
namespace {

double Weight(const PairSide& side, int64_t i) {
  return side.weights == nullptr ? 1.0 : side.weights[i];
}

// Sums of w v^0, w v^1, w v^2 over rows at distance v >= 0 from an edge that only moves away.
class EdgeSums {
 public:
  void Move(double by) {
    sums_[2] += by * (2 * sums_[1] + by * sums_[0]);
    sums_[1] += by * sums_[0];
  }
  void Add(double distance, double weight) {
    sums_[0] += weight;
    sums_[1] += weight * distance;
    sums_[2] += weight * distance * distance;
  }
  double operator[](int power) const { return sums_[power]; }

 private:
  double sums_[3] = {};
};

double MeanScore(const PairSide& a, const PairSide& b) {
  double sum = 0;
  const double n = static_cast<double>(a.count + b.count);
  for (const PairSide* side : {&a, &b}) {
    for (int64_t i = 0; i < side->count; ++i) sum += side->scores[i] / n;
  }
  return sum;
}

}  // namespace

double SweepHinge(double margin, int degree, const PairSide& upper, const PairSide& lower) {
  double loss = 0;
  EdgeSums sums;
  int64_t j = lower.count;
  double edge = 0;
  // From the highest upper row down, lower rows above s_i - m come into reach.
  for (int64_t i = upper.count - 1; i >= 0; --i) {
    const double now = upper.scores[i] - margin;
    if (i < upper.count - 1) sums.Move(edge - now);
    edge = now;
    for (; j > 0 && lower.scores[j - 1] > edge; --j) sums.Add(lower.scores[j - 1] - edge, 1.0);
    const double weight = Weight(upper, i);
    loss += weight * sums[degree];
    upper.gradient[i] -= weight * degree * sums[degree - 1];
  }
  EdgeSums weighted;
  int64_t i = 0;
  // From the lowest lower row up, upper rows below s_j + m.
  for (int64_t k = 0; k < lower.count; ++k) {
    const double now = lower.scores[k];
    if (k > 0) weighted.Move(now - edge);
    edge = now;
    for (; i < upper.count && upper.scores[i] - margin < edge; ++i) {
      weighted.Add(edge - (upper.scores[i] - margin), Weight(upper, i));
    }
    lower.gradient[k] += degree * weighted[degree - 1];
  }
  return loss;
}

double SumSquares(double margin, const PairSide& upper, const PairSide& lower) {
  const double origin = MeanScore(upper, lower);
  double w0 = 0, w1 = 0, n1 = 0, n2 = 0, loss = 0;
  const double n0 = static_cast<double>(lower.count);
  for (int64_t j = 0; j < lower.count; ++j) {
    const double v = lower.scores[j] - origin;
    n1 += v;
    n2 += v * v;
  }
  for (int64_t i = 0; i < upper.count; ++i) {
    const double weight = Weight(upper, i), v = margin - (upper.scores[i] - origin);
    w0 += weight;
    w1 += weight * v;
    loss += weight * (n0 * v * v + 2 * v * n1 + n2);
    upper.gradient[i] -= 2 * weight * (n0 * v + n1);
  }
  for (int64_t j = 0; j < lower.count; ++j) {
    lower.gradient[j] += 2 * (w1 + w0 * (lower.scores[j] - origin));
  }
  return loss;
}

double SweepHingeRuns(double margin, const PairSide& upper, const PairSide& lower,
                      const std::vector<PairRun>& runs, double share) {
  const double origin = MeanScore(upper, lower);
  std::vector<double> from(static_cast<size_t>(lower.count + 1));  // sums of scores from each on
  for (int64_t j = lower.count - 1; j >= 0; --j) {
    from[static_cast<size_t>(j)] = from[static_cast<size_t>(j + 1)] + (lower.scores[j] - origin);
  }
  // The weights that begin to act at each lower row.
  std::vector<double> begins(static_cast<size_t>(lower.count + 1));
  double loss = 0;
  const auto add = [&](int64_t i, int64_t first, int64_t last, double weight) {
    const auto count = static_cast<double>(last - first);
    const double scores = from[static_cast<size_t>(first)] - from[static_cast<size_t>(last)];
    loss += weight * (count * (margin - (upper.scores[i] - origin)) + scores);
    upper.gradient[i] -= weight * count;
    begins[static_cast<size_t>(first)] += weight;
    begins[static_cast<size_t>(last)] -= weight;
  };
  for (int64_t i = 0; i < upper.count; ++i) {
    const PairRun& run = runs[static_cast<size_t>(i)];
    add(i, run.all, lower.count, Weight(upper, i));
    add(i, run.some, run.all, Weight(upper, i) * share);
  }
  double acting = 0;
  for (int64_t j = 0; j < lower.count; ++j) {
    acting += begins[static_cast<size_t>(j)];
    lower.gradient[j] += acting;
  }
  return loss;
}

}  // namespace hvdrec
