#include "kernels/rows/shuffle.h"

namespace hvdrec {

uint64_t ShuffleOrder::Random() {
  uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

size_t ShuffleOrder::Take(size_t count, int64_t arrived, bool closed, int64_t* out) {
  size_t taken = 0;
  while (taken < count) {
    while (waiting_.size() < size_ && next_ < arrived) waiting_.push_back(next_++);
    if (waiting_.empty() || (waiting_.size() < size_ && !closed)) break;
    // Multiply-shift instead of a remainder; the bias of 2^-32 per row is far below anything
    // visible.
    const size_t pick = static_cast<size_t>(((Random() >> 32) * waiting_.size()) >> 32);
    out[taken++] = waiting_[pick];
    waiting_[pick] = waiting_.back();
    waiting_.pop_back();
  }
  return taken;
}

}  // namespace hvdrec
