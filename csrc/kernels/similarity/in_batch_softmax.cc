#include "kernels/similarity/in_batch_softmax.h"

#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/base/exp_row.h"
#include "kernels/base/logistic.h"
#include "kernels/base/scratch.h"
#include "kernels/base/tiles.h"

namespace hvdrec {
namespace {

constexpr int64_t kRowsPerTask = 16;
// The products of a panel of queries with all items stay within this size, if that leaves it the
// least rows, for which products are still fast; a multiple of the number that Blocks fills up to.
constexpr int64_t kPanelBytes = 64 << 20;
constexpr int64_t kLeastRows = 48, kMostRows = 240;
// A panel's blocks of items are summed in so many groups, each by one thread.
constexpr int64_t kGroups = 32;

// Items sorted by id, so that the duplicates of one are adjacent, in ascending order.
class Duplicates {
 public:
  Duplicates(const int64_t* ids, int64_t items) {
    if (ids == nullptr) return;
    order_.resize(static_cast<size_t>(items));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    std::sort(order_.begin(), order_.end(),
              [&](int64_t a, int64_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
    range_.resize(order_.size());
    for (size_t begin = 0, end = 0; begin < order_.size(); begin = end) {
      while (end < order_.size() && ids[order_[end]] == ids[order_[begin]]) ++end;
      for (size_t p = begin; p < end; ++p) range_[order_[p]] = {begin, end};
    }
  }

  // Calls each(j) for the items j of [first, last) that have the id of item i, without i itself.
  template <typename Each>
  void For(int64_t i, int64_t first, int64_t last, const Each& each) const {
    if (i >= static_cast<int64_t>(range_.size())) return;
    const auto end = order_.begin() + range_[i].end;
    auto next = std::lower_bound(order_.begin() + range_[i].begin, end, first);
    for (; next != end && *next < last; ++next) {
      if (*next != i) each(*next);
    }
  }

 private:
  struct Range {
    size_t begin, end;
  };
  std::vector<int64_t> order_;
  std::vector<Range> range_;  // by item, of its id in the order
};

// Owned items by their owner.
class OwnedItems {
 public:
  OwnedItems(const int64_t* owners, int64_t owned, int64_t queries)
      : starts_(static_cast<size_t>(owned > 0 ? queries + 1 : 0)),
        order_(static_cast<size_t>(owned)) {
    if (owned == 0) return;
    for (int64_t o = 0; o < owned; ++o) ++starts_[owners[o] + 1];
    std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
    std::vector<int64_t> next(starts_.begin(), starts_.end() - 1);
    for (int64_t o = 0; o < owned; ++o) order_[next[owners[o]]++] = o;
  }

  // Calls each(o) for the owned items of a query, in ascending order.
  template <typename Each>
  void For(int64_t query, const Each& each) const {
    if (starts_.empty()) return;
    for (int64_t k = starts_[query]; k < starts_[query + 1]; ++k) each(order_[k]);
  }

 private:
  std::vector<int64_t> starts_, order_;
};

// Takes one panel of queries after the other: its products with all items, the sums of their
// exponentials, and from these its part of both gradients. No product is computed twice, and only
// those of a panel are stored, which fit the last cache where there are some ten thousand items.
// Threads share a panel by its items.
template <typename T>
class SoftmaxSweep {
 public:
  // `bound`: no logit has a larger absolute value; `longest`: no query is longer. The gradients are
  // null if they aren't needed.
  SoftmaxSweep(const SoftmaxBatch<T>& batch, double bound, double longest, double total_weight,
               const Parallel& parallel, T* query_gradient, T* item_gradient)
      : batch_(batch),
        longest_(longest),
        total_weight_(total_weight),
        parallel_(parallel),
        query_gradient_(query_gradient),
        item_gradient_(item_gradient),
        queries_(batch.query_values, batch.queries, batch.dim),
        items_(batch.item_values, batch.items, batch.dim),
        panels_(batch.queries, RowsOfPanel(batch.queries, batch.shared())),
        blocks_(batch.shared()),
        duplicates_(batch.item_ids, batch.with_ids()),
        owned_(batch.owners, batch.owned, batch.queries),
        scale_(static_cast<T>(1 / batch.temperature)),
        tiles_(static_cast<size_t>(blocks_.count() * TileSize())),
        sums_(static_cast<size_t>(blocks_.count() * panels_.size())),
        shares_(static_cast<size_t>(panels_.size())) {
    if (2 * bound <= SharedRange<T>()) shift_ = static_cast<T>(bound);
    may_overflow_ = !(bound * std::max(batch.temperature, 1.0) <= std::numeric_limits<T>::max());
    if (!gradient()) return;
    scaled_.resize(panels_.size(), batch.dim);
    partial_.resize(static_cast<size_t>(groups() * panels_.size() * batch.dim));
    std::fill_n(item_gradient, batch.items * batch.dim, T(0));
  }

  // Returns the loss, NaN where it overflows; the gradients then aren't complete.
  double Run() {
    double loss = 0;
    for (int64_t panel = 0; panel < panels_.count(); ++panel) {
      parallel_.Run(blocks_.count(), [&](int64_t block) { FindExponentials(panel, block); });
      ForRows(panel, [&](int64_t r) { FindShares(panel, r); });
      for (int64_t r = 0; r < panels_.rows(panel); ++r) loss += shares_[r].loss;
      if (!std::isfinite(loss)) return std::numeric_limits<double>::quiet_NaN();
      if (!gradient()) continue;
      parallel_.Run(groups(), [&](int64_t group) { AddGradients(panel, group); });
      ForRows(panel, [&](int64_t r) { FinishGradients(panel, r); });
    }
    return loss / total_weight_;
  }

 private:
  // exp(shift) * sum; `shift` is also the one of the exponentials.
  struct Sum {
    T shift, sum;
  };

  // A query's loss, and the shares of its items in the gradient: of a negative
  // exp(its logit - shift) * factor, of the own item `own`.
  struct Shares {
    double loss, shift, factor, own;
    bool folded;  // the factor is applied to the query's vectors instead of to its exponentials
  };

  static int64_t RowsOfPanel(int64_t queries, int64_t items) {
    const int64_t fitting = kPanelBytes / (items * static_cast<int64_t>(sizeof(T)));
    return std::min(queries, std::clamp(fitting / kLeastRows * kLeastRows, kLeastRows, kMostRows));
  }

  bool gradient() const { return query_gradient_ != nullptr; }
  int64_t groups() const { return std::min(blocks_.count(), kGroups); }
  int64_t TileSize() const { return panels_.size() * blocks_.size(); }
  T* TileRow(int64_t block, int64_t r) {
    return tiles_.data() + block * TileSize() + r * blocks_.size();
  }
  Sum& SumOf(int64_t block, int64_t r) { return sums_[block * panels_.size() + r]; }
  T* Partial(int64_t group, int64_t r) {
    return partial_.data() + (group * panels_.size() + r) * batch_.dim;
  }

  template <typename M>
  static auto Rows(M& matrix, const Blocks& blocks, int64_t block) {
    return matrix.middleRows(blocks.begin(block), blocks.rows(block));
  }

  template <typename Work>
  void ForRows(int64_t panel, const Work& work) {
    const auto chunk = [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) work(r);
    };
    ForChunks(parallel_, panels_.rows(panel), kRowsPerTask, chunk);
  }

  // Fills a tile with the exponentials of its logits, and finds their sums.
  void FindExponentials(int64_t panel, int64_t block) {
    const int64_t first = blocks_.begin(block), last = blocks_.end(block);
    MatMulSecondTransposed(PartOf(Rows(queries_, panels_, panel)),
                           PartOf(Rows(items_, blocks_, block)), TileRow(block, 0), blocks_.size());
    constexpr T kNot = -std::numeric_limits<T>::infinity();
    for (int64_t r = 0; r < panels_.rows(panel); ++r) {
      const int64_t query = panels_.begin(panel) + r;
      Stretch<T> values(TileRow(block, r), last - first);
      // Neither the own item nor its duplicates are negatives.
      const auto mask = [&](T by) {
        duplicates_.For(query, first, last, [&](int64_t item) { values[item - first] = by; });
        if (query >= first && query < last) values[query - first] = by;
      };
      if (may_overflow_) {
        mask(0);
        if (!(values * scale_).isFinite().all()) {
          SumOf(block, r) = {std::numeric_limits<T>::quiet_NaN(), T(1)};
          continue;
        }
      }
      mask(kNot);
      T shift = 0;
      if (shift_) {
        shift = *shift_;
      } else if (const T most = values.maxCoeff(); most != kNot) {
        shift = most * scale_;
      }
      SumOf(block, r) = {shift, ExpRow(values.data(), values.size(), scale_, shift)};
    }
  }

  void FindShares(int64_t panel, int64_t r) {
    const int64_t query = panels_.begin(panel) + r;
    ExpSum sum;
    for (int64_t block = 0; block < blocks_.count(); ++block) {
      sum.Add(SumOf(block, r).shift, SumOf(block, r).sum);
    }
    owned_.For(query, [&](int64_t o) { sum.Add(OwnedLogit(query, o), 1); });
    // Loss and shares are functions of this difference, so they stay accurate where both are near
    // 0.
    const double own = OwnLogit(batch_, query), behind = sum.Log() - own;
    const double weight =
        batch_.weights == nullptr ? 1 : static_cast<double>(batch_.weights[query]);
    const double share = weight / (total_weight_ * batch_.temperature);
    Shares& found = shares_[r];
    found.loss = weight * Softplus(behind);
    found.own = -Sigmoid(behind) * share;
    found.shift = shift_ ? static_cast<double>(*shift_) : sum.shift;
    found.factor = share * std::exp(found.shift - own - Softplus(behind));
    // Not where a vector times the factor might overflow.
    found.folded =
        found.factor * std::max(longest_, 1.0) <= std::sqrt(std::numeric_limits<T>::max());
    if (gradient()) scaled_.row(r) = queries_.row(query) * Folded(found);
  }

  static T Folded(const Shares& shares) {
    return shares.folded ? static_cast<T>(shares.factor) : T(1);
  }

  // Adds the part of some blocks of items to the gradients.
  void AddGradients(int64_t panel, int64_t group) {
    std::fill_n(Partial(group, 0), panels_.size() * batch_.dim, T(0));
    const int64_t begin = group * blocks_.count() / groups();
    const int64_t end = (group + 1) * blocks_.count() / groups();
    Eigen::Map<RowMatrix<T>> item_sums(item_gradient_, batch_.items, batch_.dim);
    for (int64_t block = begin; block < end; ++block) {
      for (int64_t r = 0; r < panels_.rows(panel); ++r) ShareOut(block, r);
      const Matrix<T> shares{TileRow(block, 0), panels_.rows(panel), blocks_.rows(block),
                             blocks_.size()};
      AddMatMul(shares, PartOf(Rows(items_, blocks_, block)), Partial(group, 0), batch_.dim);
      AddMatMulFirstTransposed(shares, PartOf(scaled_.topRows(panels_.rows(panel))),
                               Rows(item_sums, blocks_, block).data(), batch_.dim);
    }
  }

  // Turns a row's exponentials into shares, divided by the factor if that is folded.
  void ShareOut(int64_t block, int64_t r) {
    const Shares& shares = shares_[r];
    if (shift_ && shares.folded) return;
    const Sum& sum = SumOf(block, r);
    if (sum.sum == 0) return;
    const double apart = std::exp(static_cast<double>(sum.shift) - shares.shift);
    Stretch<T>(TileRow(block, r), blocks_.rows(block)) *=
        static_cast<T>(shares.folded ? apart : apart * shares.factor);
  }

  // The sum of the groups' parts, and what belongs to a single query.
  void FinishGradients(int64_t panel, int64_t r) {
    const int64_t query = panels_.begin(panel) + r;
    Stretch<T> mine(query_gradient_ + query * batch_.dim, batch_.dim);
    mine = Stretch<T>(Partial(0, r), batch_.dim);
    for (int64_t group = 1; group < groups(); ++group) {
      mine += Stretch<T>(Partial(group, r), batch_.dim);
    }
    const Shares& shares = shares_[r];
    mine *= Folded(shares);
    const auto add = [&](int64_t item, double share) {
      Stretch<T> its(item_gradient_ + item * batch_.dim, batch_.dim);
      mine += static_cast<T>(share) * items_.row(item).array();
      its += static_cast<T>(share) * queries_.row(query).array();
    };
    add(query, shares.own);
    owned_.For(query, [&](int64_t o) {
      add(batch_.shared() + o, std::exp(OwnedLogit(query, o) - shares.shift) * shares.factor);
    });
  }

  // The logit of an item that is the negative of only one query.
  double OwnedLogit(int64_t query, int64_t owned) const {
    const auto values = queries_.row(query).template cast<double>();
    return values.dot(items_.row(batch_.shared() + owned).template cast<double>()) /
           batch_.temperature;
  }

  const SoftmaxBatch<T>& batch_;
  const double longest_, total_weight_;
  const Parallel& parallel_;
  T* const query_gradient_;
  T* const item_gradient_;
  const MatrixMap<T> queries_, items_;
  const Blocks panels_, blocks_;
  const Duplicates duplicates_;
  const OwnedItems owned_;
  const T scale_;
  std::optional<T> shift_;  // for any logit the batch can have
  bool may_overflow_;       // a product or a logit
  // Of a panel. Eigen takes other numbers at once, and rounds otherwise, in rows that begin
  // elsewhere.
  AlignedScratch<T> tiles_;
  std::vector<Sum> sums_;       // by block and row of the panel
  std::vector<Shares> shares_;  // by row of the panel
  RowMatrix<T> scaled_;         // the panel's queries times their factors
  Scratch<T> partial_;          // the groups' parts of the panel's gradient
};

}  // namespace

template <typename T>
SoftmaxResult InBatchSoftmax(const SoftmaxBatch<T>& batch, const Parallel& parallel,
                             T* query_gradient, T* item_gradient) {
  SoftmaxResult result;
  for (int64_t o = 0; o < batch.owned; ++o) {
    if (batch.owners[o] < 0 || batch.owners[o] >= batch.queries) {
      throw std::invalid_argument("owners: there is no query " + std::to_string(batch.owners[o]));
    }
  }
  // Without queries their gradient is null too, although the items' is wanted.
  const auto fill = [&](T value) {
    if (query_gradient != nullptr) std::fill_n(query_gradient, batch.queries * batch.dim, value);
    if (item_gradient != nullptr) std::fill_n(item_gradient, batch.items * batch.dim, value);
  };
  double queries_norm = 0, items_norm = 0, weights_norm = 0;
  result.bad_query =
      FirstBadRow(batch.query_values, batch.queries, batch.dim, parallel, &queries_norm);
  result.bad_item = FirstBadRow(batch.item_values, batch.items, batch.dim, parallel, &items_norm);
  double total_weight = static_cast<double>(batch.queries);
  if (batch.weights != nullptr) {
    result.bad_weight = FirstBadRow(batch.weights, batch.queries, 1, parallel, &weights_norm);
    total_weight = 0;
    for (int64_t i = 0; i < batch.queries; ++i) total_weight += batch.weights[i];
  }
  if (result.bad_query >= 0 || result.bad_item >= 0 || result.bad_weight >= 0) {
    result.loss = std::numeric_limits<double>::quiet_NaN();
    fill(std::numeric_limits<T>::quiet_NaN());
    return result;
  }
  // With a single item there is nothing to distinguish.
  if (batch.queries == 0 || batch.items == 1 || total_weight == 0) {
    fill(T(0));
    return result;
  }
  const double bound = 1.0001 * std::sqrt(queries_norm) * std::sqrt(items_norm) / batch.temperature;
  result.loss = SoftmaxSweep<T>(batch, bound, std::sqrt(queries_norm), total_weight, parallel,
                                query_gradient, item_gradient)
                    .Run();
  if (std::isnan(result.loss)) fill(std::numeric_limits<T>::quiet_NaN());
  return result;
}

template SoftmaxResult InBatchSoftmax(const SoftmaxBatch<float>&, const Parallel&, float*, float*);
template SoftmaxResult InBatchSoftmax(const SoftmaxBatch<double>&, const Parallel&, double*,
                                      double*);

}  // namespace hvdrec
