// Work in several phases, each of which needs the results of the one before.

#ifndef HVDREC_KERNELS_BASE_PHASES_H_
#define HVDREC_KERNELS_BASE_PHASES_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <utility>

#include "kernels/base/parallel.h"

namespace hvdrec {

// Phases of pieces, run by the same threads, which meet after each phase. Several calls of
// Parallel::Run give the same results, but each has to wake threads, which takes longer than short
// phases do; between phases, these threads spin.
class Phases {
 public:
  // Adds a phase that calls body(0) .. body(count - 1). What `body` refers to must exist until Run
  // returns.
  void Add(int64_t count, std::function<void(int64_t)> body) {
    phases_.emplace_back(count, std::move(body));
  }

  // Adds a phase of chunks, as ForChunks runs them.
  template <typename Body>
  void AddChunks(int64_t rows, int64_t size, const Body& body) {
    Add(ChunkCount(rows, size), [rows, size, body](int64_t chunk) {
      const int64_t begin = chunk * size;
      body(chunk, begin, std::min(begin + size, rows));
    });
  }

  // The same from the last chunk to the first, so that it finds in the cache what the phase before
  // has used last.
  template <typename Body>
  void AddChunksBackwards(int64_t rows, int64_t size, const Body& body) {
    const int64_t count = ChunkCount(rows, size);
    Add(count, [count, rows, size, body](int64_t piece) {
      const int64_t chunk = count - 1 - piece;
      const int64_t begin = chunk * size;
      body(chunk, begin, std::min(begin + size, rows));
    });
  }

  // Runs all phases once, in their order. What a body throws is thrown here once the pieces that
  // had begun are done; those that hadn't are left out.
  void Run(const Parallel& parallel) {
    // A thread that begins late joins the phase that is running; one that begins after the end
    // finds nothing to do.
    parallel.Run(parallel.threads(), [this](int64_t) {
      for (Phase& phase : phases_) {
        Work(&phase);
        Meet(phase);
      }
    });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Phase {
    Phase(int64_t count, std::function<void(int64_t)> body) : count(count), body(std::move(body)) {}

    const int64_t count;
    const std::function<void(int64_t)> body;
    std::atomic<int64_t> next{0};
    std::atomic<int64_t> done{0};
  };

  void Work(Phase* phase) {
    for (int64_t i; (i = phase->next.fetch_add(1, std::memory_order_relaxed)) < phase->count;) {
      if (!failed_.load(std::memory_order_relaxed)) {
        try {
          phase->body(i);
        } catch (...) {
          const std::lock_guard<std::mutex> lock(mutex_);
          if (!error_) error_ = std::current_exception();
          failed_.store(true, std::memory_order_relaxed);
        }
      }
      if (phase->done.fetch_add(1, std::memory_order_acq_rel) + 1 < phase->count) continue;
      const std::lock_guard<std::mutex> lock(mutex_);
      all_done_.notify_all();
    }
  }

  // Waits for the pieces that other threads have begun. They usually end soon; where other programs
  // need the cores, a thread that spun on would lose its turn to them later.
  void Meet(const Phase& phase) {
    const auto done = [&phase] {
      return phase.done.load(std::memory_order_acquire) >= phase.count;
    };
    const auto began = std::chrono::steady_clock::now();
    while (!done()) {
      if (std::chrono::steady_clock::now() - began < kSpin) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      all_done_.wait(lock, done);
    }
  }

  // Longer than a piece takes.
  static constexpr std::chrono::microseconds kSpin{150};

  std::deque<Phase> phases_;
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::condition_variable all_done_;
  std::exception_ptr error_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_PHASES_H_
