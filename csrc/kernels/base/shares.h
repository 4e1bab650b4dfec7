// Pieces of work that several threads take in turn.

#ifndef HVDREC_KERNELS_BASE_SHARES_H_
#define HVDREC_KERNELS_BASE_SHARES_H_

#include <atomic>
#include <cstdint>
#include <memory>

namespace hvdrec {

// The number of the calling thread's core among those that this process may use.
int CoreNumber();

// The pieces 0 .. count - 1, divided into shares of neighbours. A thread first takes those of the
// share that belongs to its core, then what is left of the others. Where pieces are rows, a core
// thus finds in its own cache what it has computed of them before.
class Shares {
 public:
  // `backwards`: each share from its last piece to its first.
  Shares(int64_t count, int shares, bool backwards = false)
      : count_(count), shares_(shares), backwards_(backwards), begun_(new Begun[shares]) {
    for (int i = 0; i < shares; ++i) begun_[i].next.store(Begin(i), std::memory_order_relaxed);
  }

  int64_t count() const { return count_; }

  // The share of the calling thread's core.
  int Own() const { return CoreNumber() % shares_; }

  // Takes a piece of a share, or of the next one that has any left, to which `share` is then set.
  // Returns -1 if none has.
  int64_t Take(int* share) {
    for (int i = 0; i < shares_; ++i) {
      std::atomic<int64_t>& next = begun_[*share].next;
      const int64_t begin = Begin(*share), end = Begin(*share + 1);
      if (next.load(std::memory_order_relaxed) < end) {
        const int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
        if (piece < end) return backwards_ ? begin + end - 1 - piece : piece;
      }
      *share = *share + 1 < shares_ ? *share + 1 : 0;
    }
    return -1;
  }

 private:
  // In a cache line of its own.
  struct alignas(64) Begun {
    std::atomic<int64_t> next;
  };

  int64_t Begin(int share) const { return count_ * share / shares_; }

  const int64_t count_;
  const int shares_;
  const bool backwards_;
  std::unique_ptr<Begun[]> begun_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_SHARES_H_
