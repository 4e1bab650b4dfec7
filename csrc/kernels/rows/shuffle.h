// The order in which rows leave a shuffle buffer, as row numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hvdrec {

// A buffer of `size` rows: once it is full, a random one leaves and the next row takes its place,
// as tf.data's `shuffle` does. Rows are numbers 0, 1, 2, ... in the order they arrive, and the
// output depends only on the seed, the size and the number of rows, not on how many arrive at a
// time. The generator is splitmix64 (Steele, Lea, Flood 2014), the same on every platform.
class ShuffleOrder {
 public:
  ShuffleOrder(uint64_t seed, size_t size) : state_(seed), size_(size > 0 ? size : 1) {}

  // Writes the next row numbers to `out`, `count` of them or as many as are determined when the
  // rows below `arrived` have arrived and, if `closed`, no more will follow. Returns how many.
  size_t Take(size_t count, int64_t arrived, bool closed, int64_t* out);

  // Rows in the buffer, in no order.
  const std::vector<int64_t>& waiting() const { return waiting_; }
  // The first row that hasn't entered the buffer.
  int64_t next() const { return next_; }

 private:
  uint64_t Random();

  uint64_t state_;
  size_t size_;
  int64_t next_ = 0;
  std::vector<int64_t> waiting_;
};

}  // namespace hvdrec
