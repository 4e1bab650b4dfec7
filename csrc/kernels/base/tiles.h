// Work on all pairs of two sets of rows, a tile of rows x rows at a time.
//
// The tiles run in rounds. In a round no block of rows is in two tiles, so that a tile may add to
// the results of its rows and columns without a lock, and a block's tiles run in the same order for
// any number of threads: sums over all pairs are the same to the bit.

#ifndef HVDREC_KERNELS_BASE_TILES_H_
#define HVDREC_KERNELS_BASE_TILES_H_

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/base/matmul.h"
#include "kernels/base/parallel.h"

namespace hvdrec {

template <typename T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename T>
using MatrixMap = Eigen::Map<const RowMatrix<T>>;
template <typename T>
using RowArray = Eigen::Array<T, 1, Eigen::Dynamic>;
// A part of one row of a tile, or of the values of its columns.
template <typename T>
using Stretch = Eigen::Map<RowArray<T>>;
template <typename T>
using ConstStretch = Eigen::Map<const RowArray<T>>;

// Some rows and columns of a row-major matrix, for the products of matmul.h.
template <typename Part>
Matrix<typename Part::Scalar> PartOf(const Part& part) {
  return {part.data(), part.rows(), part.cols(), part.outerStride()};
}

// Equal blocks of rows, the last one possibly smaller.
//
// Eigen adds up the terms of a product in a different order in the last few rows and columns of a
// matrix, so the product of two rows depends on their positions in their blocks. Matrices whose
// numbers of rows and columns are multiples of kStep have no such last few: in a block padded with
// zeros to `filled` rows, the product of two rows is the same at any position.
class Blocks {
 public:
  // Two 240 x 240 tiles of floats fit a core's second cache. Few rows make smaller tiles, so that
  // several threads find work.
  explicit Blocks(int64_t rows) : Blocks(rows, std::clamp<int64_t>(rows / 16, 72, 240)) {}

  // Blocks of at least `size` rows.
  Blocks(int64_t rows, int64_t size) : rows_(rows), size_(FillUp(size)) {}

  int64_t count() const { return ChunkCount(rows_, size_); }
  int64_t size() const { return size_; }
  int64_t begin(int64_t block) const { return block * size_; }
  int64_t end(int64_t block) const { return std::min(rows_, (block + 1) * size_); }
  int64_t rows(int64_t block) const { return end(block) - begin(block); }

  int64_t filled(int64_t block) const { return FillUp(rows(block)); }
  // Rows of all blocks, with the last one padded.
  int64_t filled() const { return FillUp(rows_); }

 private:
  // Three vectors of floats, which Eigen's kernel takes at a time, and a divisor of 240.
#ifdef __AVX512F__
  static constexpr int64_t kStep = 48;
#else
  static constexpr int64_t kStep = 24;
#endif

  static int64_t FillUp(int64_t rows) { return ChunkCount(rows, kStep) * kStep; }

  int64_t rows_;
  int64_t size_;
};

// Calls work(i, j) for each pair of blocks i <= j of one set, each once: first all (i, i), then
// the others by the circle method of round-robin tournaments.
template <typename Work>
void ForPairsOfBlocks(int64_t blocks, const Parallel& parallel, const Work& work) {
  parallel.Run(blocks, [&](int64_t i) { work(i, i); });
  const int64_t places = blocks + blocks % 2;  // with an odd number, one is idle
  for (int64_t round = 0; round + 1 < places; ++round) {
    parallel.Run(places / 2, [&](int64_t k) {
      const int64_t turning = places - 1;
      const int64_t a = k == 0 ? turning : (round + k) % turning;
      const int64_t b = (round + turning - k) % turning;
      if (std::max(a, b) < blocks) work(std::min(a, b), std::max(a, b));
    });
  }
}

// Calls work(i, j) for each block i of one set and each block j of another, each once.
template <typename Work>
void ForBlocksOfTwo(int64_t row_blocks, int64_t column_blocks, const Parallel& parallel,
                    const Work& work) {
  const int64_t places = std::max(row_blocks, column_blocks);
  for (int64_t round = 0; round < places; ++round) {
    parallel.Run(row_blocks, [&](int64_t i) {
      const int64_t j = (i + round) % places;
      if (j < column_blocks) work(i, j);
    });
  }
}

// Buffers that tasks borrow: as many are created as tasks run at the same time.
template <typename Buffer>
class BufferPool {
 public:
  class Loan {
   public:
    explicit Loan(BufferPool& pool) : pool_(pool), buffer_(pool.Take()) {}
    ~Loan() { pool_.Return(std::move(buffer_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Buffer& operator*() const { return *buffer_; }
    Buffer* operator->() const { return buffer_.get(); }

   private:
    BufferPool& pool_;
    std::unique_ptr<Buffer> buffer_;
  };

  explicit BufferPool(int64_t tile) : tile_(tile) {}

 private:
  std::unique_ptr<Buffer> Take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<Buffer> buffer = std::move(free_.back());
        free_.pop_back();
        return buffer;
      }
    }
    return std::make_unique<Buffer>(tile_);
  }

  void Return(std::unique_ptr<Buffer> buffer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(buffer));
  }

  const int64_t tile_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Buffer>> free_;
};

// A sum of exponentials, exp(shift) * sum.
struct ExpSum {
  double shift = -std::numeric_limits<double>::infinity();
  double sum = 0;

  // Adds exp(other_shift) * other_sum.
  void Add(double other_shift, double other_sum) {
    if (other_sum == 0) return;
    if (other_shift == shift) {
      sum += other_sum;
    } else if (other_shift > shift) {
      sum = sum * std::exp(shift - other_shift) + other_sum;
      shift = other_shift;
    } else {
      sum += other_sum * std::exp(other_shift - shift);
    }
  }

  bool empty() const { return sum == 0; }
  double Log() const { return shift + std::log(sum); }
};

// Exponents this close to each other can share one shift: exp(-range) and exp(range) are
// normal numbers, with room for the sum of a tile's row.
template <typename T>
constexpr double SharedRange() {
  return sizeof(T) == 4 ? 80 : 600;
}

// Represents minus infinity in sums of exponentials, where infinities would produce NaN.
template <typename T>
constexpr T Nothing() {
  return -std::numeric_limits<T>::max() / 4;
}

// The first row with a number that isn't finite, or -1. `largest`: the largest squared norm.
template <typename T>
int64_t FirstBadRow(const T* values, int64_t rows, int64_t dim, const Parallel& parallel,
                    double* largest) {
  constexpr int64_t kChunk = 1024;
  struct Found {
    int64_t bad = -1;
    double largest = 0;
  };
  std::vector<Found> found(static_cast<size_t>(ChunkCount(rows, kChunk)));
  ForChunks(parallel, rows, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    Found& mine = found[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      const ConstStretch<T> row(values + i * dim, dim);
      // Zero times a number is 0 only if it is finite.
      if (mine.bad < 0 && (row * T(0)).sum() != T(0)) mine.bad = i;
      mine.largest = std::max(mine.largest, static_cast<double>(row.matrix().squaredNorm()));
    }
  });
  *largest = 0;
  int64_t bad = -1;
  for (const Found& part : found) {
    if (bad < 0) bad = part.bad;
    *largest = std::max(*largest, part.largest);
  }
  return bad;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_TILES_H_
