#include "kernels/similarity/multi_similarity.h"

#include "kernels/base/logistic.h"
#include "kernels/similarity/similarity_sweep.h"

namespace hvdrec {
namespace {

template <typename T>
class MultiSimilarityForm {
 public:
  explicit MultiSimilarityForm(const MultiSimilarityOptions& options)
      : options_(options),
        alpha_(static_cast<T>(options.alpha)),
        beta_(static_cast<T>(options.beta)),
        lambda_(static_cast<T>(options.lambda)) {}

  template <bool kPositive, typename A>
  auto Exponent(const A& s) const {
    return (s - lambda_) * (kPositive ? -alpha_ : beta_);
  }

  // A constant, as an expression of the array's shape.
  template <bool kPositive, typename A>
  auto Slope(const A& s) const {
    return RowArray<T>::Constant(s.size(), kPositive ? T(-1) : T(1));
  }

  template <bool kPositive>
  std::optional<double> Shift(double low, double high) const {
    const double factor = kPositive ? -options_.alpha : options_.beta;
    const double a = factor * (low - options_.lambda), b = factor * (high - options_.lambda);
    const double least = std::min(a, b), greatest = std::max(a, b);
    // The sums are added to 1, so exponents far below 0 are negligible.
    if (greatest <= SharedRange<T>()) return 0.0;
    if (greatest - least <= SharedRange<T>()) return greatest;
    return std::nullopt;
  }

  AnchorResult Finish(const ExpSum& positives, const ExpSum& negatives) const {
    AnchorResult result;
    if (!positives.empty()) {
      const double p = Softplus(positives.Log());
      result.loss += p / options_.alpha;
      result.positive_offset = -p;
    }
    if (!negatives.empty()) {
      const double n = Softplus(negatives.Log());
      result.loss += n / options_.beta;
      result.negative_offset = -n;
    }
    return result;
  }

  bool mining() const { return options_.mining; }
  double eps() const { return options_.eps; }

 private:
  const MultiSimilarityOptions options_;
  const T alpha_, beta_, lambda_;
};

}  // namespace

template <typename T>
SimilarityResult MultiSimilarityLoss(const SimilarityBatch<T>& batch,
                                     const MultiSimilarityOptions& options,
                                     const Parallel& parallel, T* gradient) {
  return SimilarityLoss(batch, MultiSimilarityForm<T>(options), parallel, gradient);
}

template SimilarityResult MultiSimilarityLoss(const SimilarityBatch<float>&,
                                              const MultiSimilarityOptions&, const Parallel&,
                                              float*);
template SimilarityResult MultiSimilarityLoss(const SimilarityBatch<double>&,
                                              const MultiSimilarityOptions&, const Parallel&,
                                              double*);

}  // namespace hvdrec
