#include "kernels/pairwise/tiles.h"

#include <algorithm>
#include <cmath>

namespace hvdrec {
namespace {

// Where the exponents of a leaf's logistic pairs stay below this, eight factors 1 + exp(x) multiply
// without overflow.
constexpr double kSmallRange = 80;
constexpr int kFactors = 8;

// As AddPairs for the logistic loss, one division a pair. exp(m - s + s_j) = own * others[j]; log(1
// + z) is taken once for several factors: q = (1 + z1)(1 + z2) ... - 1 keeps small z exact.
PairSum LogisticRow(double own, double weight, const double* others, double* gradient,
                    int64_t count) {
  double value = 0, slope = 0;
  Doubles products = Fill(0.0), slopes = Fill(0.0);
  const auto flush = [&] {
    for (int k = 0; k < kLanes; ++k) value += std::log1p(products[k]);
    products = Fill(0.0);
  };
  int64_t j = 0;
  int factors = 0;
  for (; j + kLanes <= count; j += kLanes) {
    const Doubles z = own * Load(others + j);
    const Doubles miss = z / (z + 1.0);
    products += z * (products + 1.0);
    slopes += miss;
    Store(gradient + j, Load(gradient + j) + weight * miss);
    if (++factors == kFactors) {
      flush();
      factors = 0;
    }
  }
  if (factors > 0) flush();
  double product = 0;
  for (; j < count; ++j) {
    const double z = own * others[j];
    const double miss = z / (z + 1.0);
    product += z * (product + 1.0);
    slope += miss;
    gradient[j] += weight * miss;
  }
  return {value + std::log1p(product), -(slope + Sum(slopes))};
}

}  // namespace

PairSum AddPairs(const PairFunction& f, double score, double weight, const double* others,
                 double* gradient, int64_t count) {
  Doubles values = Fill(0.0), slopes = Fill(0.0);
  for (int64_t j = 0; j < count; j += kLanes) {
    const int64_t left = std::min<int64_t>(count - j, kLanes);
    Doubles v, s;
    if (left == kLanes) {
      f(score - Load(others + j), &v, &s);
      Store(gradient + j, Load(gradient + j) - weight * s);
    } else {
      f(score - LoadSome(others + j, left, score), &v, &s);
      for (int64_t k = 0; k < kLanes; ++k) {
        if (k < left) {
          gradient[j + k] -= weight * s[k];
        } else {
          v[k] = s[k] = 0;
        }
      }
    }
    values += v;
    slopes += s;
  }
  return {Sum(values), Sum(slopes)};
}

template <typename T>
TileSum SumOverLeaf(const PairFunction& f, const double* scores, const T* labels,
                    const double* weights, double* gradient, int64_t count) {
  TileSum sum;
  const auto [low, high] = std::minmax_element(scores, scores + count);
  const bool small =
      f.loss == PairLoss::kLogistic && *high - *low + std::abs(f.margin) < kSmallRange;
  std::vector<double> exponentials;
  if (small) {
    exponentials.resize(static_cast<size_t>(count));
    for (int64_t j = 0; j < count; j += kLanes) {
      const int64_t left = std::min<int64_t>(count - j, kLanes);
      const Doubles e = Exp(LoadSome(scores + j, left, *low) - *low);
      for (int64_t k = 0; k < left; ++k) exponentials[static_cast<size_t>(j + k)] = e[k];
    }
  }
  const double shift = small ? Exp(Fill(f.margin))[0] : 0;
  int64_t lower = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0 && labels[i] != labels[i - 1]) lower = i;
    const double weight = weights == nullptr ? 1.0 : weights[i];
    if (lower == 0 || weight == 0) continue;
    const PairSum row = small ? LogisticRow(shift / exponentials[static_cast<size_t>(i)], weight,
                                            exponentials.data(), gradient, lower)
                              : AddPairs(f, scores[i], weight, scores, gradient, lower);
    sum.loss += weight * row.value;
    sum.pairs += lower;
    gradient[i] += weight * row.slope;
  }
  return sum;
}

double SumOverRuns(const PairFunction& f, const PairSide& upper, const PairSide& lower,
                   const std::vector<PairRun>& runs, double share, const Parallel& parallel) {
  // A few pieces, each with a separate gradient for the lower rows: O(n) memory.
  constexpr int64_t kPieces = 8;
  const int64_t size = std::max<int64_t>(ChunkCount(upper.count, kPieces), 64);
  const int64_t pieces = ChunkCount(upper.count, size);
  std::vector<double> losses(static_cast<size_t>(pieces));
  std::vector<std::vector<double>> gradients(static_cast<size_t>(pieces));
  ForChunks(parallel, upper.count, size, [&](int64_t piece, int64_t begin, int64_t end) {
    std::vector<double>& gradient = gradients[static_cast<size_t>(piece)];
    gradient.resize(static_cast<size_t>(lower.count));
    for (int64_t i = begin; i < end; ++i) {
      const double weight = upper.weights == nullptr ? 1.0 : upper.weights[i];
      const PairRun& run = runs[static_cast<size_t>(i)];
      if (weight == 0 || run.some == lower.count) continue;
      const auto add = [&](int64_t from, int64_t to, double factor) {
        const PairSum row = AddPairs(f, upper.scores[i], factor, lower.scores + from,
                                     gradient.data() + from, to - from);
        losses[static_cast<size_t>(piece)] += factor * row.value;
        upper.gradient[i] += factor * row.slope;
      };
      add(run.all, lower.count, weight);
      if (run.some < run.all && share > 0) add(run.some, run.all, weight * share);
    }
  });
  double loss = 0;
  for (size_t piece = 0; piece < losses.size(); ++piece) {
    loss += losses[piece];
    for (int64_t j = 0; j < lower.count; ++j) {
      lower.gradient[j] += gradients[piece][static_cast<size_t>(j)];
    }
  }
  return loss;
}

template TileSum SumOverLeaf<float>(const PairFunction&, const double*, const float*, const double*,
                                    double*, int64_t);
template TileSum SumOverLeaf<double>(const PairFunction&, const double*, const double*,
                                     const double*, double*, int64_t);

}  // namespace hvdrec
