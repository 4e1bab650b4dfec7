#include "kernels/similarity/in_batch_softmax.h"

#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/base/logistic.h"
#include "kernels/base/scratch.h"
#include "kernels/base/tiles.h"

namespace hvdrec {
namespace {

constexpr int64_t kQueriesPerTask = 256;
// The tiles of the forward pass are kept for the backward pass, which then needn't multiply again,
// up to this size, unless that is less than a fourth of them.
constexpr int64_t kKeptBytes = 256 << 20;
constexpr size_t kAlignment = 64;

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

template <typename T>
class SoftmaxSweep {
 public:
  // `bound`: no logit has a larger absolute value; `longest`: nor a query; `gradient`: whether
  // Gradient() will be called.
  SoftmaxSweep(const SoftmaxBatch<T>& batch, double bound, double longest, bool gradient,
               const Parallel& parallel)
      : batch_(batch),
        longest_(longest),
        parallel_(parallel),
        queries_(batch.query_values, batch.queries, batch.dim),
        items_(batch.item_values, batch.items, batch.dim),
        query_blocks_(batch.queries),
        item_blocks_(batch.shared()),
        pool_(TileSize()),
        duplicates_(batch.item_ids, batch.with_ids()),
        scale_(static_cast<T>(1 / batch.temperature)) {
    if (2 * bound <= SharedRange<T>()) shift_ = static_cast<T>(bound);
    if (!gradient) return;
    const int64_t tiles = query_blocks_.count() * item_blocks_.count();
    const int64_t fitting = kKeptBytes / (TileSize() * static_cast<int64_t>(sizeof(T)));
    if (4 * fitting < tiles) return;
    kept_tiles_ = std::min(tiles, fitting);
    kept_.resize(static_cast<size_t>(kept_tiles_ * TileSize()) + kAlignment / sizeof(T));
    // Eigen takes other numbers at once, and rounds otherwise, in rows that begin elsewhere.
    void* begin = kept_.data();
    size_t bytes = kept_.size() * sizeof(T);
    kept_begin_ = static_cast<T*>(std::align(kAlignment, sizeof(T), begin, bytes));
    if (!shift_) kept_shifts_.resize(static_cast<size_t>(batch.queries * item_blocks_.count()));
  }

  double Loss(double total_weight) {
    sums_.assign(batch_.queries, ExpSum());
    ForTiles([&](int64_t i, int64_t j) {
      typename BufferPool<Tile>::Loan buffer(pool_);
      T* const tile = IsKept(i, j) ? Kept(i, j) : buffer->values.data();
      Multiply(i, j, tile);
      for (int64_t r = 0; r < query_blocks_.rows(i); ++r) {
        const int64_t query = query_blocks_.begin(i) + r;
        Stretch<T> logits = Logits(query, r, j, tile);
        const T shift = shift_ ? *shift_ : logits.maxCoeff();
        if (IsKept(i, j) && !shift_) kept_shifts_[query * item_blocks_.count() + j] = shift;
        if (shift == Nothing<T>()) {
          logits.setZero();
          continue;
        }
        logits = (logits - shift).exp();
        sums_[query].Add(shift, logits.sum());
      }
    });
    for (int64_t o = 0; o < batch_.owned; ++o) sums_[batch_.owners[o]].Add(OwnedLogit(o), 1);
    own_.resize(batch_.queries);
    ForChunks(parallel_, batch_.queries, kQueriesPerTask, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) own_[i] = OwnLogit(batch_, i);
    });
    double loss = 0;
    for (int64_t i = 0; i < batch_.queries; ++i) {
      if (Weight(i) != 0) loss += Weight(i) * Softplus(Behind(i));
    }
    total_weight_ = total_weight;
    return loss / total_weight;
  }

  // After Loss().
  void Gradient(T* query_gradient, T* item_gradient) {
    Eigen::Map<RowMatrix<T>> query_sums(query_gradient, batch_.queries, batch_.dim);
    Eigen::Map<RowMatrix<T>> item_sums(item_gradient, batch_.items, batch_.dim);
    query_sums.setZero();
    item_sums.setZero();
    FindShares();
    // With one shift for all, a query's factor is applied to its vectors instead of to its tiles.
    RowMatrix<T> scaled;
    if (folded_) {
      scaled = queries_;
      ScaleRows(&scaled);
    }
    const MatrixMap<T> queries(folded_ ? scaled.data() : batch_.query_values, batch_.queries,
                               batch_.dim);
    ForTiles([&](int64_t i, int64_t j) {
      typename BufferPool<Tile>::Loan buffer(pool_);
      T* const tile = IsKept(i, j) ? Kept(i, j) : buffer->values.data();
      if (!IsKept(i, j)) Multiply(i, j, tile);
      for (int64_t r = 0; r < query_blocks_.rows(i); ++r) SharesOfRow(i, j, r, tile);
      const auto shares = PartOf(Filled(i, j, tile));
      AddMatMul(shares, PartOf(Rows(items_, item_blocks_, j)),
                Rows(query_sums, query_blocks_, i).data(), batch_.dim);
      AddMatMulFirstTransposed(shares, PartOf(Rows(queries, query_blocks_, i)),
                               Rows(item_sums, item_blocks_, j).data(), batch_.dim);
    });
    for (int64_t o = 0; o < batch_.owned; ++o) {
      const int64_t query = batch_.owners[o], item = batch_.shared() + o;
      const Shares& shares = shares_[query];
      const T share =
          static_cast<T>(std::exp(OwnedLogit(o) - shares.shift)) * (folded_ ? T(1) : shares.factor);
      query_sums.row(query) += share * items_.row(item);
      item_sums.row(item) += share * queries.row(query);
    }
    if (folded_) ScaleRows(&query_sums);
  }

 private:
  template <typename M>
  static auto Rows(M& matrix, const Blocks& blocks, int64_t block) {
    return matrix.middleRows(blocks.begin(block), blocks.rows(block));
  }

  struct Tile {
    explicit Tile(int64_t size) : values(size) {}
    RowArray<T> values;
  };

  int64_t TileSize() const { return query_blocks_.size() * item_blocks_.size(); }
  bool IsKept(int64_t i, int64_t j) const { return i * item_blocks_.count() + j < kept_tiles_; }
  T* Kept(int64_t i, int64_t j) {
    return kept_begin_ + (i * item_blocks_.count() + j) * TileSize();
  }

  // The used part of a tile; its rows are `item_blocks_.size()` apart.
  auto Filled(int64_t i, int64_t j, T* tile) const {
    return Eigen::Map<RowMatrix<T>, 0, Eigen::OuterStride<>>(
        tile, query_blocks_.rows(i), item_blocks_.rows(j),
        Eigen::OuterStride<>(item_blocks_.size()));
  }

  template <typename Work>
  void ForTiles(const Work& work) {
    ForBlocksOfTwo(query_blocks_.count(), item_blocks_.count(), parallel_, work);
  }

  void Multiply(int64_t i, int64_t j, T* tile) const {
    MatMulSecondTransposed(PartOf(Rows(queries_, query_blocks_, i)),
                           PartOf(Rows(items_, item_blocks_, j)), tile, item_blocks_.size());
  }

  // Turns row r of a tile's products into logits; those of the query's own item and of masked ones
  // are Nothing.
  Stretch<T> Logits(int64_t query, int64_t r, int64_t j, T* tile) {
    const int64_t first = item_blocks_.begin(j), last = item_blocks_.end(j);
    Stretch<T> logits(tile + r * item_blocks_.size(), last - first);
    logits *= scale_;
    duplicates_.For(query, first, last, [&](int64_t item) { logits[item - first] = Nothing<T>(); });
    if (query >= first && query < last) logits[query - first] = Nothing<T>();
    return logits;
  }

  // Turns row r of a tile, kept or of products, into the shares of its items in the gradient,
  // divided by the query's factor if that is folded.
  void SharesOfRow(int64_t i, int64_t j, int64_t r, T* tile) {
    const int64_t query = query_blocks_.begin(i) + r;
    const int64_t first = item_blocks_.begin(j), last = item_blocks_.end(j);
    const Shares& shares = shares_[query];
    Stretch<T> values(tile + r * item_blocks_.size(), last - first);
    if (!IsKept(i, j)) {
      Logits(query, r, j, tile);
      values = (values - shares.shift).exp();
      if (!folded_) values *= shares.factor;
    } else if (!folded_) {
      const T shift = shift_ ? *shift_ : kept_shifts_[query * item_blocks_.count() + j];
      const double apart = static_cast<double>(shift) - static_cast<double>(shares.shift);
      values *= static_cast<T>(std::exp(apart) * static_cast<double>(shares.factor));
    }
    if (query >= first && query < last) values[query - first] = shares.own;
  }

  // The logit of an item that is the negative of only one query.
  double OwnedLogit(int64_t owned) const {
    const auto query = queries_.row(batch_.owners[owned]).template cast<double>();
    return query.dot(items_.row(batch_.shared() + owned).template cast<double>()) /
           batch_.temperature;
  }

  // The difference between the log of the others' sum and a query's own logit. The loss and the own
  // item's share are functions of this only, so they stay accurate where both are near 0.
  double Behind(int64_t query) const { return sums_[query].Log() - own_[query]; }

  // A negative's share in the gradient is exp(its logit - shift) * factor; `own` is the own item's,
  // divided by the factor if that is folded.
  struct Shares {
    T shift, factor, own;
  };

  void FindShares() {
    shares_.resize(batch_.queries);
    folded_ = shift_.has_value();
    std::vector<double> largest(static_cast<size_t>(ChunkCount(batch_.queries, kQueriesPerTask)),
                                0.0);
    const auto find = [&](int64_t chunk, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const double share = Weight(i) / (total_weight_ * batch_.temperature);
        const double behind = Behind(i), log_sum = own_[i] + Softplus(behind);
        // The factor corrects the rounding of log_sum to the logits' type.
        const T shift = folded_ ? *shift_ : static_cast<T>(log_sum);
        const double apart = std::exp(shift - log_sum);
        shares_[i] = {shift, static_cast<T>(share * apart),
                      static_cast<T>(-Sigmoid(behind) * (folded_ ? 1 / apart : share))};
        double& most = largest[static_cast<size_t>(chunk)];
        most = std::max(most, share * apart);
      }
    };
    ForChunks(parallel_, batch_.queries, kQueriesPerTask, find);
    // Where a query's vector times its factor might overflow, the factors stay with the tiles.
    const double most = *std::max_element(largest.begin(), largest.end());
    if (folded_ && most * std::max(longest_, 1.0) > std::sqrt(std::numeric_limits<T>::max())) {
      folded_ = false;
      ForChunks(parallel_, batch_.queries, kQueriesPerTask, find);
    }
  }

  // Multiplies each query's row by its factor.
  template <typename M>
  void ScaleRows(M* rows) const {
    ForChunks(parallel_, batch_.queries, kQueriesPerTask, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) rows->row(i) *= shares_[i].factor;
    });
  }

  double Weight(int64_t query) const {
    return batch_.weights == nullptr ? 1 : static_cast<double>(batch_.weights[query]);
  }

  const SoftmaxBatch<T>& batch_;
  const double longest_;
  const Parallel& parallel_;
  const MatrixMap<T> queries_, items_;
  const Blocks query_blocks_, item_blocks_;
  BufferPool<Tile> pool_;
  const Duplicates duplicates_;
  const T scale_;
  std::optional<T> shift_;      // for any logit the batch can have
  std::vector<ExpSum> sums_;    // by query, of the items except its own
  std::vector<double> own_;     // the logit of the query's own item
  std::vector<Shares> shares_;  // by query
  double total_weight_ = 0;
  bool folded_ = false;
  int64_t kept_tiles_ = 0;
  T* kept_begin_ = nullptr;
  Scratch<T> kept_;         // exp(logit - shift), tile by tile
  Scratch<T> kept_shifts_;  // by query and item block, unless there is one shift for all
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
  const bool wanted = query_gradient != nullptr;
  const auto fill = [&](T value) {
    if (!wanted) return;
    std::fill_n(query_gradient, batch.queries * batch.dim, value);
    std::fill_n(item_gradient, batch.items * batch.dim, value);
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
  SoftmaxSweep<T> sweep(batch, bound, std::sqrt(queries_norm), wanted, parallel);
  result.loss = sweep.Loss(total_weight);
  if (wanted) sweep.Gradient(query_gradient, item_gradient);
  return result;
}

template SoftmaxResult InBatchSoftmax(const SoftmaxBatch<float>&, const Parallel&, float*, float*);
template SoftmaxResult InBatchSoftmax(const SoftmaxBatch<double>&, const Parallel&, double*,
                                      double*);

}  // namespace hvdrec
