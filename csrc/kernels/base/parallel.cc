#include "kernels/base/parallel.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/base/shares.h"

namespace hvdrec {
namespace {

// How long a thread spins while it waits for the others.
constexpr std::chrono::microseconds kSpin(100);

// The pieces of one Run. Tasks that begin after all pieces are taken touch nothing but this.
struct Pieces {
  Pieces(int64_t count, int threads)
      : shares(count, static_cast<int>(std::min<int64_t>(threads, count))) {}

  // Takes pieces until none is left. `body` exists as long as there are pieces left.
  void Work(const std::function<void(int64_t)>& body) {
    int64_t finished = 0;
    int share = shares.Own();
    for (int64_t i; (i = shares.Take(&share)) >= 0; ++finished) {
      if (failed.load(std::memory_order_relaxed)) continue;
      try {
        body(i);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!error) error = std::current_exception();
        failed.store(true, std::memory_order_relaxed);
      }
    }
    if (finished == 0) return;
    const std::lock_guard<std::mutex> lock(mutex);
    done.store(done.load(std::memory_order_relaxed) + finished, std::memory_order_release);
    if (Done()) all_done.notify_all();
  }

  bool Done() const { return done.load(std::memory_order_acquire) == shares.count(); }

  // Running pieces usually end soon: sleeping and waking up would take longer.
  void Wait() {
    const auto began = std::chrono::steady_clock::now();
    while (!Done() && std::chrono::steady_clock::now() - began < kSpin) {
    }
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock, [this] { return Done(); });
  }

  Shares shares;
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable all_done;
  std::atomic<int64_t> done{0};
  std::exception_ptr error;
};

int UsableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(CPU_COUNT(&set), 1);
  return std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
}

// The number of each core among those that this process may use.
std::vector<int> CoreNumbers() {
  cpu_set_t set;
  std::vector<int> numbers(CPU_SETSIZE, 0);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return numbers;
  for (int cpu = 0, number = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) numbers[static_cast<size_t>(cpu)] = number++;
  }
  return numbers;
}

// Threads that wait for tasks. Never destroyed: a process may end while they sleep.
class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) std::thread([this] { Loop(); }).detach();
  }

  void Schedule(std::function<void()> task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

 private:
  void Loop() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return !tasks_.empty(); });
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
};

}  // namespace

int CoreNumber() {
  // Never destroyed: threads may still look for pieces while the process ends.
  static const std::vector<int>& numbers = *new std::vector<int>(CoreNumbers());
  const int cpu = sched_getcpu();
  return cpu < 0 || cpu >= CPU_SETSIZE ? 0 : numbers[static_cast<size_t>(cpu)];
}

void Parallel::Run(int64_t count, const std::function<void(int64_t)>& body) const {
  if (threads_ == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  const auto pieces = std::make_shared<Pieces>(count, threads_);
  const int64_t helpers = std::min<int64_t>(threads_, count) - 1;
  for (int64_t i = 0; i < helpers; ++i) {
    Schedule([pieces, &body] { pieces->Work(body); });
  }
  pieces->Work(body);
  pieces->Wait();
  if (pieces->error) std::rethrow_exception(pieces->error);
}

OwnThreads::OwnThreads(int threads) : Parallel(threads < 1 ? UsableCores() : threads) {}

void OwnThreads::Schedule(std::function<void()> task) const {
  static Pool* const pool = new Pool(std::max(UsableCores() - 1, 3));
  pool->Schedule(std::move(task));
}

}  // namespace hvdrec
