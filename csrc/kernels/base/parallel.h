// How kernels use several threads, from a pool of this library or from TensorFlow's.

#ifndef HVDREC_KERNELS_BASE_PARALLEL_H_
#define HVDREC_KERNELS_BASE_PARALLEL_H_

#include <algorithm>
#include <cstdint>
#include <functional>

namespace hvdrec {

// Runs the pieces of a kernel's work.
//
// A kernel divides its work into pieces by the size of its input only, never by the number of
// threads, gives each piece separate memory for its results, and adds these up in the order of the
// pieces. It then gives the same bits for any number of threads.
class Parallel {
 public:
  virtual ~Parallel() = default;

  // Threads that take part, including the caller's.
  int threads() const { return threads_; }

  // Calls body(0) .. body(count - 1), each once, in no order and on any thread, and returns when
  // all are done. The caller's thread takes part and waits for no thread that hasn't begun, so a
  // busy pool makes this slower but never stuck. What a body throws is thrown here once the pieces
  // that had begun are done; those that hadn't are left out.
  void Run(int64_t count, const std::function<void(int64_t)>& body) const;

 protected:
  explicit Parallel(int threads) : threads_(std::max(threads, 1)) {}

 private:
  // Passes a task to another thread, which may run it at any later time.
  virtual void Schedule(std::function<void()> task) const = 0;

  const int threads_;
};

// Only the caller's thread.
class Serial final : public Parallel {
 public:
  Serial() : Parallel(1) {}

 private:
  void Schedule(std::function<void()> task) const override { task(); }
};

// Up to `threads` threads of this process's own pool, which has a thread for each usable core and
// is started by the first call that needs it. Fewer than 1 means all.
class OwnThreads final : public Parallel {
 public:
  explicit OwnThreads(int threads);

 private:
  void Schedule(std::function<void()> task) const override;
};

// Number of chunks of `size` rows for `rows` rows; the last one may be smaller.
inline int64_t ChunkCount(int64_t rows, int64_t size) { return (rows + size - 1) / size; }

// Calls body(chunk, begin, end) for each chunk of `size` rows.
template <typename Body>
void ForChunks(const Parallel& parallel, int64_t rows, int64_t size, const Body& body) {
  parallel.Run(ChunkCount(rows, size), [&](int64_t chunk) {
    const int64_t begin = chunk * size;
    body(chunk, begin, std::min(begin + size, rows));
  });
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_PARALLEL_H_
