// The passes over all pairs of rows that circle and multi-similarity loss have in common.

#ifndef HVDREC_KERNELS_SIMILARITY_SIMILARITY_SWEEP_H_
#define HVDREC_KERNELS_SIMILARITY_SIMILARITY_SWEEP_H_

#include <numeric>
#include <optional>

#include "kernels/base/tiles.h"
#include "kernels/similarity/similarity.h"

namespace hvdrec {

// Rows sorted by class, so that the positives of a row are adjacent.
template <typename T>
struct SortedRows {
  SortedRows(const SimilarityBatch<T>& batch, const Parallel& parallel)
      : order(static_cast<size_t>(batch.rows)),
        begin(order.size()),
        end(order.size()),
        values(Blocks(batch.rows).filled(), batch.dim) {
    std::iota(order.begin(), order.end(), int64_t{0});
    const auto session = [&](int64_t i) {
      return batch.sessions == nullptr ? 0 : batch.sessions[i];
    };
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      if (session(a) != session(b)) return session(a) < session(b);
      if (batch.labels[a] != batch.labels[b]) return batch.labels[a] < batch.labels[b];
      return a < b;
    });
    for (int64_t first = 0, last = 0; first < batch.rows; first = last) {
      const int64_t row = order[first];
      while (last < batch.rows && batch.labels[order[last]] == batch.labels[row] &&
             session(order[last]) == session(row)) {
        ++last;
      }
      std::fill(begin.begin() + first, begin.begin() + last, first);
      std::fill(end.begin() + first, end.begin() + last, last);
    }
    for (int64_t place = 0; place < batch.rows; ++place) {
      const int64_t row = order[place];
      if (row >= batch.first_anchor && row < batch.first_anchor + batch.anchors) {
        anchors.push_back(place);
      }
    }
    ForChunks(parallel, batch.rows, 1024, [&](int64_t, int64_t from, int64_t to) {
      for (int64_t place = from; place < to; ++place) {
        values.row(place) = MatrixMap<T>(batch.embeddings + order[place] * batch.dim, 1, batch.dim);
      }
    });
    values.bottomRows(values.rows() - batch.rows).setZero();
  }

  std::vector<int64_t> order;    // by place: the row of the batch
  std::vector<int64_t> begin;    // by place: where its class begins,
  std::vector<int64_t> end;      // and ends
  std::vector<int64_t> anchors;  // the anchors' places, ascending
  RowMatrix<T> values;           // by place, filled up
};

// The results of an anchor's sums: its loss, and the summand of a pair's exponent for the pair's
// share in the gradient, without the slope and the mean over rows.
struct AnchorResult {
  double loss = 0;
  double positive_offset = -std::numeric_limits<double>::infinity();
  double negative_offset = -std::numeric_limits<double>::infinity();
};

// A loss of the sums P = sum_p exp(x(s_ap)) and N = sum_n exp(y(s_an)) of each anchor.
//
// Form defines it. For positives (`kPositive`) and negatives it has
//   Exponent<kPositive>(s)   x or y, of an array of similarities
//   Slope<kPositive>(s)      what the pair's share is multiplied by in the gradient
//   Shift<kPositive>(low, high)  for similarities within [low, high] a number that all exponents
//                            can be taken relative to without loss, if there is one
//   Finish(P, N)             the AnchorResult; a sum without pairs is empty()
//   mining(), eps()          as in MultiSimilarityOptions
template <typename T, typename Form>
class SimilaritySweep {
 public:
  SimilaritySweep(const SimilarityBatch<T>& batch, const Form& form, const Parallel& parallel)
      : batch_(batch),
        form_(form),
        parallel_(parallel),
        rows_(batch, parallel),
        all_(batch.anchors == batch.rows),
        row_blocks_(static_cast<int64_t>(rows_.anchors.size())),
        column_blocks_(batch.rows),
        pool_(std::max(row_blocks_.size(), column_blocks_.size())) {
    if (all_) return;
    anchor_values_.setZero(row_blocks_.filled(), batch.dim);
    for (int64_t i = 0; i < batch.anchors; ++i) {
      anchor_values_.row(i) = rows_.values.row(rows_.anchors[i]);
    }
  }

  // `largest`: an upper bound of the rows' squared norms.
  double Loss(double largest) {
    // Slightly more, for the rounding of the products.
    whole_ = Shifts(-1.0001 * largest, 1.0001 * largest);
    if (form_.mining()) FindThresholds();
    positive_.assign(batch_.rows, ExpSum());
    negative_.assign(batch_.rows, ExpSum());
    ForTiles([&](int64_t i, int64_t j, Tile& tile) {
      all_&& i != j ? Sum<true>(i, j, tile) : Sum<false>(i, j, tile);
    });
    results_.resize(rows_.anchors.size());
    double loss = 0;
    for (size_t i = 0; i < results_.size(); ++i) {
      const int64_t place = rows_.anchors[i];
      results_[i] = form_.Finish(positive_[place], negative_[place]);
      loss += results_[i].loss;
    }
    return loss / static_cast<double>(batch_.rows);
  }

  // After Loss().
  void Gradient(T* gradient) {
    RowMatrix<T> sums = RowMatrix<T>::Zero(batch_.rows, batch_.dim);
    RowMatrix<T> anchor_sums = RowMatrix<T>::Zero(all_ ? 0 : batch_.anchors, batch_.dim);
    ForTiles([&](int64_t i, int64_t j, Tile& tile) {
      all_ ? Share<true>(i, j, tile) : Share<false>(i, j, tile);
      const auto shares =
          PartOf(tile.values.topLeftCorner(row_blocks_.rows(i), column_blocks_.rows(j)));
      AddMatMul(shares, PartOf(Rows(rows_.values, column_blocks_, j)),
                Rows(all_ ? sums : anchor_sums, row_blocks_, i).data(), batch_.dim);
      if (all_ && i == j) return;  // those shares are of both orders of a pair already
      const auto& anchors = all_ ? rows_.values : anchor_values_;
      AddMatMulFirstTransposed(shares, PartOf(Rows(anchors, row_blocks_, i)),
                               Rows(sums, column_blocks_, j).data(), batch_.dim);
    });
    for (int64_t i = 0; i < anchor_sums.rows(); ++i)
      sums.row(rows_.anchors[i]) += anchor_sums.row(i);
    ForChunks(parallel_, batch_.rows, 1024, [&](int64_t, int64_t from, int64_t to) {
      const T mean = T(1) / static_cast<T>(batch_.rows);
      for (int64_t place = from; place < to; ++place) {
        Eigen::Map<RowMatrix<T>>(gradient + rows_.order[place] * batch_.dim, 1, batch_.dim) =
            sums.row(place) * mean;
      }
    });
  }

 private:
  // One number for positives, one for negatives, if there is any.
  struct PairOfShifts {
    std::optional<double> positive, negative;
  };

  struct Tile {
    explicit Tile(int64_t size)
        : values(size, size),
          terms(size),
          positive(size),
          negative(size),
          shift(size),
          offset(size) {}

    RowMatrix<T> values;  // similarities, then shares in the gradient
    RowArray<T> terms;
    RowArray<T> positive, negative;  // of the columns
    RowArray<T> shift, offset;       // likewise
    PairOfShifts shifts;
  };

  template <typename M>
  static auto Rows(M& matrix, const Blocks& blocks, int64_t block) {
    return matrix.middleRows(blocks.begin(block), blocks.rows(block));
  }

  static auto FilledRows(const RowMatrix<T>& matrix, const Blocks& blocks, int64_t block) {
    return matrix.middleRows(blocks.begin(block), blocks.filled(block));
  }

  template <typename Work>
  void ForTiles(const Work& work) {
    const auto run = [&](int64_t i, int64_t j) {
      typename BufferPool<Tile>::Loan tile(pool_);
      MatMulSecondTransposed(
          PartOf(FilledRows(all_ ? rows_.values : anchor_values_, row_blocks_, i)),
          PartOf(FilledRows(rows_.values, column_blocks_, j)), tile->values.data(),
          tile->values.outerStride());
      work(i, j, *tile);
    };
    if (all_) {
      ForPairsOfBlocks(row_blocks_.count(), parallel_, run);
    } else {
      ForBlocksOfTwo(row_blocks_.count(), column_blocks_.count(), parallel_, run);
    }
  }

  // Calls each(positive, values, first column, number) for the parts of row r of a tile with one
  // kind of pairs; the pair of a row with itself is left out.
  template <typename Each>
  void ForStretches(int64_t i, int64_t r, int64_t j, Tile& tile, const Each& each) {
    const int64_t place = rows_.anchors[row_blocks_.begin(i) + r];
    const int64_t first = column_blocks_.begin(j), last = column_blocks_.end(j);
    const int64_t begin = std::clamp(rows_.begin[place], first, last);
    const int64_t end = std::clamp(rows_.end[place], first, last);
    T* const row = tile.values.row(r).data();
    const auto call = [&](auto positive, int64_t from, int64_t to) {
      if (from < to) each(positive, row + (from - first), from - first, to - from);
    };
    call(std::false_type(), first, begin);
    if (place >= begin && place < end) {
      call(std::true_type(), begin, place);
      call(std::true_type(), place + 1, end);
    } else {
      call(std::true_type(), begin, end);
    }
    call(std::false_type(), end, last);
  }

  // The least and the greatest similarity each anchor has with either kind.
  void FindThresholds() {
    // By place; of positives the least, of negatives the greatest.
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    hardest_positive_.assign(batch_.rows, kInfinity);
    hardest_negative_.assign(batch_.rows, -kInfinity);
    ForTiles([&](int64_t i, int64_t j, Tile& tile) {
      const bool both = all_ && i != j;
      const int64_t first = column_blocks_.begin(j);
      for (int64_t r = 0; r < row_blocks_.rows(i); ++r) {
        const int64_t place = rows_.anchors[row_blocks_.begin(i) + r];
        ForStretches(i, r, j, tile, [&](auto positive, T* values, int64_t column, int64_t count) {
          const ConstStretch<T> s(values, count);
          if constexpr (decltype(positive)::value) {
            T& own = hardest_positive_[place];
            own = std::min(own, s.minCoeff());
            Stretch<T> theirs(&hardest_positive_[first + column], count);
            if (both) theirs = theirs.min(s);
          } else {
            T& own = hardest_negative_[place];
            own = std::max(own, s.maxCoeff());
            Stretch<T> theirs(&hardest_negative_[first + column], count);
            if (both) theirs = theirs.max(s);
          }
        });
      }
    });
    const T eps = static_cast<T>(form_.eps());
    for (T& s : hardest_positive_) s -= eps;
    for (T& s : hardest_negative_) s += eps;
  }

  PairOfShifts Shifts(double low, double high) const {
    return {form_.template Shift<true>(low, high), form_.template Shift<false>(low, high)};
  }

  // The shift that all exponents of a tile can be taken relative to.
  PairOfShifts TileShifts(int64_t i, int64_t j, const Tile& tile) const {
    if (whole_.positive && whole_.negative) return whole_;
    const auto s = tile.values.topLeftCorner(row_blocks_.rows(i), column_blocks_.rows(j));
    PairOfShifts found = Shifts(s.minCoeff(), s.maxCoeff());
    if (whole_.positive) found.positive = whole_.positive;
    if (whole_.negative) found.negative = whole_.negative;
    return found;
  }

  // The condition of the anchor at `place` for a mined pair, as a function of its similarity.
  template <bool kPositive>
  const T* Thresholds(int64_t place) const {
    return kPositive ? &hardest_negative_[place] : &hardest_positive_[place];
  }
  template <bool kPositive, typename A, typename B>
  static auto Mined(const A& s, const B& threshold) {
    if constexpr (kPositive) {
      return s < threshold;
    } else {
      return s > threshold;
    }
  }

  // Adds a tile's terms to the sums of its rows and, with `kBoth`, of its columns.
  template <bool kBoth>
  void Sum(int64_t i, int64_t j, Tile& tile) {
    const int64_t columns = column_blocks_.rows(j);
    const PairOfShifts shifts = TileShifts(i, j, tile);
    tile.positive.setZero();
    tile.negative.setZero();
    for (int64_t r = 0; r < row_blocks_.rows(i); ++r) {
      const int64_t place = rows_.anchors[row_blocks_.begin(i) + r];
      T positive_sum = 0, negative_sum = 0;
      ForStretches(i, r, j, tile, [&](auto kind, T* values, int64_t column, int64_t count) {
        constexpr bool kPositive = decltype(kind)::value;
        const auto& shift = kPositive ? shifts.positive : shifts.negative;
        if (!shift) {
          SumApart<kPositive, kBoth>(place, column_blocks_.begin(j) + column, values, count, tile);
          return;
        }
        const ConstStretch<T> s(values, count);
        Stretch<T> terms(tile.terms.data(), count);
        Stretch<T> theirs((kPositive ? tile.positive : tile.negative).data() + column, count);
        terms = (form_.template Exponent<kPositive>(s) - static_cast<T>(*shift)).exp();
        T& own = kPositive ? positive_sum : negative_sum;
        if (!form_.mining()) {
          own += terms.sum();
          if (kBoth) theirs += terms;
          return;
        }
        const ConstStretch<T> bars(Thresholds<kPositive>(column_blocks_.begin(j) + column), count);
        own += Mined<kPositive>(s, *Thresholds<kPositive>(place)).select(terms, T(0)).sum();
        if (kBoth) theirs += Mined<kPositive>(s, bars).select(terms, T(0));
      });
      if (shifts.positive) positive_[place].Add(*shifts.positive, positive_sum);
      if (shifts.negative) negative_[place].Add(*shifts.negative, negative_sum);
    }
    if (!kBoth) return;
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t place = column_blocks_.begin(j) + c;
      if (shifts.positive) positive_[place].Add(*shifts.positive, tile.positive[c]);
      if (shifts.negative) negative_[place].Add(*shifts.negative, tile.negative[c]);
    }
  }

  // Sum() for a part whose exponents are too far apart for one shift: each row and each column
  // uses its own.
  template <bool kPositive, bool kBoth>
  void SumApart(int64_t place, int64_t first, T* values, int64_t count, Tile& tile) {
    const ConstStretch<T> s(values, count);
    Stretch<T> exponents(tile.terms.data(), count);
    std::vector<ExpSum>& sums = kPositive ? positive_ : negative_;
    exponents = form_.template Exponent<kPositive>(s);
    if (form_.mining()) {
      const T bar = *Thresholds<kPositive>(place);
      exponents = Mined<kPositive>(s, bar).select(exponents, Nothing<T>());
    }
    const T greatest = exponents.maxCoeff();
    if (greatest != Nothing<T>()) sums[place].Add(greatest, (exponents - greatest).exp().sum());
    if (!kBoth) return;
    exponents = form_.template Exponent<kPositive>(s);
    for (int64_t c = 0; c < count; ++c) {
      const bool mined =
          !form_.mining() || Mined<kPositive>(values[c], *Thresholds<kPositive>(first + c));
      if (mined) sums[first + c].Add(exponents[c], 1);
    }
  }

  // Puts each pair's share in the gradient, for the row as anchor and with `kBoth` for the column
  // as anchor too, in place of its similarity.
  template <bool kBoth>
  void Share(int64_t i, int64_t j, Tile& tile) {
    const PairOfShifts shifts = TileShifts(i, j, tile);
    const int64_t first = column_blocks_.begin(j);
    if (kBoth) {
      for (int64_t c = 0; c < column_blocks_.rows(j); ++c) {
        // With all rows anchors, anchor and place are the same number.
        const AnchorResult& result = results_[first + c];
        tile.positive[c] = Offset<true>(result, shifts.positive);
        tile.negative[c] = Offset<false>(result, shifts.negative);
      }
    }
    for (int64_t r = 0; r < row_blocks_.rows(i); ++r) {
      const int64_t anchor = row_blocks_.begin(i) + r;
      const int64_t place = rows_.anchors[anchor];
      ForStretches(i, r, j, tile, [&](auto kind, T* values, int64_t column, int64_t count) {
        constexpr bool kPositive = decltype(kind)::value;
        const auto& shift = kPositive ? shifts.positive : shifts.negative;
        const T own = Offset<kPositive>(results_[anchor], shift);
        Stretch<T> s(values, count);
        Stretch<T> theirs((kPositive ? tile.positive : tile.negative).data() + column, count);
        if (!shift) {
          ShareApart<kPositive, kBoth>(own, theirs.data(), place, first + column, s, tile);
          return;
        }
        Stretch<T> terms(tile.terms.data(), count);
        terms = (form_.template Exponent<kPositive>(s) - static_cast<T>(*shift)).exp() *
                form_.template Slope<kPositive>(s);
        if (!form_.mining()) {
          if constexpr (kBoth) {
            s = terms * (theirs + own);
          } else {
            s = terms * own;
          }
          return;
        }
        const ConstStretch<T> bars(Thresholds<kPositive>(first + column), count);
        const auto mine = Mined<kPositive>(s, *Thresholds<kPositive>(place));
        if constexpr (kBoth) {
          s = mine.select(terms * own, T(0)) +
              Mined<kPositive>(s, bars).select(terms * theirs, T(0));
        } else {
          s = mine.select(terms * own, T(0));
        }
      });
      if (place >= first && place < column_blocks_.end(j)) tile.values(r, place - first) = 0;
    }
  }

  // With a shift the factor exp(shift + offset), without one the offset itself.
  template <bool kPositive>
  static T Offset(const AnchorResult& result, const std::optional<double>& shift) {
    const double offset = kPositive ? result.positive_offset : result.negative_offset;
    if (shift) return static_cast<T>(std::exp(*shift + offset));
    return static_cast<T>(std::max(offset, static_cast<double>(Nothing<T>())));
  }

  template <bool kPositive, bool kBoth>
  void ShareApart(T own, const T* theirs, int64_t place, int64_t first, Stretch<T>& s, Tile& tile) {
    Stretch<T> share(tile.terms.data(), s.size());
    const auto exponent = form_.template Exponent<kPositive>(s);
    share = (exponent + own).exp();
    if (form_.mining()) {
      share = Mined<kPositive>(s, *Thresholds<kPositive>(place)).select(share, T(0));
    }
    if (kBoth) {
      const ConstStretch<T> offsets(theirs, s.size());
      Stretch<T> other(tile.shift.data(), s.size());
      other = (exponent + offsets).exp();
      if (form_.mining()) {
        const ConstStretch<T> bars(Thresholds<kPositive>(first), s.size());
        other = Mined<kPositive>(s, bars).select(other, T(0));
      }
      share += other;
    }
    s = share * form_.template Slope<kPositive>(s);
  }

  const SimilarityBatch<T>& batch_;
  const Form& form_;
  const Parallel& parallel_;
  const SortedRows<T> rows_;
  const bool all_;  // all rows are anchors
  const Blocks row_blocks_, column_blocks_;
  BufferPool<Tile> pool_;
  RowMatrix<T> anchor_values_;  // by anchor, padded, if not all rows are anchors
  PairOfShifts whole_;          // for any similarity the batch can have
  std::vector<T> hardest_positive_, hardest_negative_;  // by place, with mining
  std::vector<ExpSum> positive_, negative_;             // by place
  std::vector<AnchorResult> results_;                   // by anchor
};

// Computes a loss of this form; see CircleLoss for the arguments.
template <typename T, typename Form>
SimilarityResult SimilarityLoss(const SimilarityBatch<T>& batch, const Form& form,
                                const Parallel& parallel, T* gradient) {
  SimilarityResult result;
  double largest = 0;
  const int64_t size = batch.rows * batch.dim;
  result.bad_row = FirstBadRow(batch.embeddings, batch.rows, batch.dim, parallel, &largest);
  if (result.bad_row >= 0) {
    result.loss = std::numeric_limits<double>::quiet_NaN();
    if (gradient != nullptr) std::fill_n(gradient, size, std::numeric_limits<T>::quiet_NaN());
    return result;
  }
  if (batch.rows < 2 || batch.anchors == 0) {
    if (gradient != nullptr) std::fill_n(gradient, size, T(0));
    return result;
  }
  SimilaritySweep<T, Form> sweep(batch, form, parallel);
  result.loss = sweep.Loss(largest);
  if (gradient != nullptr) sweep.Gradient(gradient);
  return result;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_SIMILARITY_SWEEP_H_
