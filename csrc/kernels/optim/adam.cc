#include "kernels/optim/adam.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/base/width.h"

namespace hvdrec {
namespace {

// Numbers that a thread processes at a time.
constexpr int64_t kChunk = 1 << 14;
constexpr int64_t kDenseChunk = 1 << 13;
// Rows of one word of a MovingRows.
constexpr int64_t kWord = 64;
// Rows that are listed at a time, and how far ahead of the current one they are prefetched.
constexpr int64_t kListed = 1024;
constexpr int64_t kAhead = 8;
constexpr int64_t kLine = 64;

inline void Update(const AdamStep& step, const float* __restrict g, int64_t size,
                   float* __restrict value, float* __restrict m, float* __restrict v) {
  for (int64_t i = 0; i < size; ++i) {
    m[i] += (g[i] - m[i]) * step.first;
    v[i] += (g[i] * g[i] - v[i]) * step.second;
    value[i] -= (m[i] * step.rate) / (std::sqrt(v[i]) + step.epsilon);
  }
}

inline void MoveOn(const AdamStep& step, int64_t size, float* __restrict value, float* __restrict m,
                   float* __restrict v) {
  for (int64_t i = 0; i < size; ++i) {
    m[i] += (0.0F - m[i]) * step.first;
    v[i] += (0.0F - v[i]) * step.second;
    value[i] -= (m[i] * step.rate) / (std::sqrt(v[i]) + step.epsilon);
  }
}

inline uint32_t Bits(float number) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits;
}

inline bool AllZero(const float* __restrict m, const float* __restrict v, int64_t size) {
  // Few rows get further.
  if (size > 0 && Bits(v[0]) != 0) return false;
  uint32_t bits = 0;
  for (int64_t i = 0; i < size; ++i) bits |= Bits(m[i]) | Bits(v[i]);
  return bits == 0;
}

inline void Fetch(const float* row, int64_t dim) {
  const char* const begin = reinterpret_cast<const char*>(row);
  const int64_t bytes = dim * static_cast<int64_t>(sizeof(float));
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(begin + at);
}

inline void Fetch(const AdamVariable& variable, int64_t row, int64_t dim) {
  Fetch(variable.m + row * dim, dim);
  Fetch(variable.v + row * dim, dim);
  Fetch(variable.value + row * dim, dim);
}

}  // namespace

void MovingRows::Reset(int64_t rows) {
  const auto words = static_cast<size_t>(ChunkCount(rows, kWord));
  moving_.assign(words, ~uint64_t{0});
  touched_.assign(words, 0);
  rows_ = rows;
  if (rows % kWord != 0) moving_.back() >>= kWord - rows % kWord;
}

// An update: of the touched rows, in their order, and of all others that have moments. These are
// listed before they are updated, because a branch for each row, which no processor can predict,
// would cost as much as its update.
class RowSweep {
 public:
  RowSweep(const AdamStep& step, const int32_t* touched, int64_t count, const float* gradient,
           const AdamVariable& variable, MovingRows* moving)
      : step_(step),
        touched_(touched),
        gradient_(gradient),
        variable_(variable),
        moving_(moving->moving_.data()),
        marks_(moving->touched_.data()) {
    const int64_t rows = moving->rows();
    for (int64_t i = 0; i < count; ++i) {
      if (touched[i] >= 0 && touched[i] < rows) continue;
      throw std::invalid_argument("row " + std::to_string(touched[i]) + " is outside a table of " +
                                  std::to_string(rows) + " rows");
    }
    for (; marked_ < count; ++marked_) {
      const int64_t row = touched[marked_];
      marks_[row / kWord] |= uint64_t{1} << (row % kWord);
      moving_[row / kWord] |= uint64_t{1} << (row % kWord);
    }
  }
  ~RowSweep() {
    for (; marked_ > 0; --marked_) marks_[touched_[marked_ - 1] / kWord] = 0;
  }
  RowSweep(const RowSweep&) = delete;
  RowSweep& operator=(const RowSweep&) = delete;

  // Updates the touched rows `begin` to `end`, of those that are touched.
  template <int64_t kDim>
  void Touched(int64_t any_dim, int64_t begin, int64_t end) const {
    const int64_t dim = kDim == kAnyWidth ? any_dim : kDim;
    const AdamStep step = step_;
    const AdamVariable variable = variable_;
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) Fetch(variable, touched_[i + kAhead], dim);
      const int64_t at = touched_[i] * dim;
      Update(step, gradient_ + i * dim, dim, variable.value + at, variable.m + at, variable.v + at);
    }
  }

  // Updates the rows of the words `begin` to `end` that aren't touched.
  template <int64_t kDim>
  void Others(int64_t any_dim, int64_t begin, int64_t end) const {
    const int64_t dim = kDim == kAnyWidth ? any_dim : kDim;
    const AdamStep step = step_;
    const AdamVariable variable = variable_;
    int32_t listed[kListed + kAhead];
    for (int64_t from = begin; from < end; from += kListed / kWord) {
      const int64_t count = List(from, std::min(from + kListed / kWord, end), listed);
      for (int64_t i = 0; i < count; ++i) {
        Fetch(variable, listed[i + kAhead], dim);
        const int64_t row = listed[i], at = row * dim;
        if (AllZero(variable.m + at, variable.v + at, dim)) {
          moving_[row / kWord] &= ~(uint64_t{1} << (row % kWord));
        } else {
          MoveOn(step, dim, variable.value + at, variable.m + at, variable.v + at);
        }
      }
    }
  }

 private:
  // Returns how many rows it lists, and repeats the last one for those that look ahead.
  int64_t List(int64_t begin, int64_t end, int32_t* listed) const {
    int64_t count = 0;
    for (int64_t word = begin; word < end; ++word) {
      const auto first = static_cast<int32_t>(word * kWord);
      for (uint64_t left = moving_[word] & ~marks_[word]; left != 0; left &= left - 1) {
        listed[count++] = first + __builtin_ctzll(left);
      }
    }
    if (count > 0) std::fill_n(listed + count, kAhead, listed[count - 1]);
    return count;
  }

  const AdamStep step_;
  const int32_t* const touched_;
  const float* const gradient_;
  const AdamVariable variable_;
  uint64_t* const moving_;
  uint64_t* const marks_;
  int64_t marked_ = 0;
};

void AdamDense(const AdamStep& step, const std::vector<DenseUpdate>& updates,
               const Parallel& parallel) {
  struct Piece {
    const DenseUpdate* update;
    int64_t begin;
  };
  std::vector<Piece> pieces;
  for (const DenseUpdate& update : updates) {
    for (int64_t at = 0; at < update.size; at += kDenseChunk) pieces.push_back({&update, at});
  }
  parallel.Run(static_cast<int64_t>(pieces.size()), [&](int64_t piece) {
    const auto& [update, begin] = pieces[static_cast<size_t>(piece)];
    const AdamVariable& to = update->variable;
    Update(step, update->gradient + begin, std::min(kDenseChunk, update->size - begin),
           to.value + begin, to.m + begin, to.v + begin);
  });
}

void AdamRows(const AdamStep& step, const int32_t* touched, int64_t count, const float* gradient,
              int64_t dim, const AdamVariable& variable, MovingRows* moving,
              const Parallel& parallel) {
  const RowSweep sweep(step, touched, count, gradient, variable, moving);
  const int64_t chunk = std::max<int64_t>(kChunk / std::max<int64_t>(dim, 1), 1);
  const int64_t words = ChunkCount(moving->rows(), kWord), of_piece = ChunkCount(chunk, kWord);
  const int64_t first = ChunkCount(count, chunk);
  WithWidth(dim, [&](auto width) {
    parallel.Run(first + ChunkCount(words, of_piece), [&](int64_t piece) {
      if (piece < first) {
        sweep.Touched<width>(dim, piece * chunk, std::min((piece + 1) * chunk, count));
      } else {
        const int64_t begin = (piece - first) * of_piece;
        sweep.Others<width>(dim, begin, std::min(begin + of_piece, words));
      }
    });
  });
}

}  // namespace hvdrec
