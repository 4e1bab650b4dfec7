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
#include <optional>
#include <utility>

#include "kernels/base/parallel.h"
#include "kernels/base/shares.h"

namespace hvdrec {

// Phases of pieces, run by the same threads, which meet after each phase. Several calls of
// Parallel::Run give the same results, but each has to wake threads, which takes longer than short
// phases do; between phases, these threads spin.
class Phases {
 public:
  // Adds a phase that calls body(0) .. body(count - 1). What `body` refers to must exist until Run
  // returns.
  void Add(int64_t count, std::function<void(int64_t)> body) {
    phases_.emplace_back();
    Beside(count, std::move(body));
  }

  // The same within the last phase: needs none of its other results.
  void Beside(int64_t count, std::function<void(int64_t)> body) {
    phases_.back().works.push_back({count, false, std::move(body), std::nullopt});
  }

  // Adds a phase of chunks, as ForChunks runs them.
  template <typename Body>
  void AddChunks(int64_t rows, int64_t size, const Body& body) {
    Add(ChunkCount(rows, size), Chunks(rows, size, body));
  }

  template <typename Body>
  void ChunksBeside(int64_t rows, int64_t size, const Body& body) {
    Beside(ChunkCount(rows, size), Chunks(rows, size, body));
  }

  // The same, where each thread goes from its last chunk to its first, so that it finds in the
  // cache what it has used last in the phase before.
  template <typename Body>
  void AddChunksBackwards(int64_t rows, int64_t size, const Body& body) {
    AddChunks(rows, size, body);
    phases_.back().works.back().backwards = true;
  }

  // Runs all phases once, in their order. What a body throws is thrown here once the pieces that
  // had begun are done; those that hadn't are left out.
  void Run(const Parallel& parallel) {
    const int threads = parallel.threads();
    for (Phase& phase : phases_) {
      for (Work& work : phase.works) {
        phase.count += work.count;
        work.shares.emplace(work.count, threads, work.backwards);
      }
    }
    // A thread that begins late joins the phase that is running; one that begins after the end
    // finds nothing to do.
    parallel.Run(threads, [this](int64_t) {
      for (Phase& phase : phases_) {
        Take(&phase);
        Meet(phase);
      }
    });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Work {
    int64_t count;
    bool backwards;
    std::function<void(int64_t)> body;
    std::optional<Shares> shares;
  };

  struct Phase {
    std::deque<Work> works;
    int64_t count = 0;
    std::atomic<int64_t> done{0};
  };

  template <typename Body>
  static std::function<void(int64_t)> Chunks(int64_t rows, int64_t size, const Body& body) {
    return [rows, size, body](int64_t chunk) {
      const int64_t begin = chunk * size;
      body(chunk, begin, std::min(begin + size, rows));
    };
  }

  void Take(Phase* phase) {
    int64_t done = 0;
    for (Work& work : phase->works) {
      int share = work.shares->Own();
      for (int64_t i; (i = work.shares->Take(&share)) >= 0; ++done) {
        if (failed_.load(std::memory_order_relaxed)) continue;
        try {
          work.body(i);
        } catch (...) {
          const std::lock_guard<std::mutex> lock(mutex_);
          if (!error_) error_ = std::current_exception();
          failed_.store(true, std::memory_order_relaxed);
        }
      }
    }
    if (done == 0 || phase->done.fetch_add(done, std::memory_order_acq_rel) + done < phase->count) {
      return;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    all_done_.notify_all();
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
