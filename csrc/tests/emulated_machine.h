// Runs the kernels of kernels/gpu/steps.h on the host, with everything random that a GPU doesn't
// define: the order of blocks, the order of threads within a step, and the initial content of
// shared memory, local memory and scratch.
//
// A result that depends on any of it differs from one seed to the next, or is NaN; AddressSanitizer
// detects reads and writes past an array's end, because each is allocated with its exact size.

#ifndef HVDREC_TESTS_EMULATED_MACHINE_H_
#define HVDREC_TESTS_EMULATED_MACHINE_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <type_traits>
#include <vector>

#include "kernels/gpu/steps.h"

namespace hvdrec {

class EmulatedMachine {
 public:
  explicit EmulatedMachine(uint64_t seed) : random_(seed) {}

  template <typename V>
  V* Allocate(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(V);
    scratch_.push_back(std::make_unique<unsigned char[]>(bytes));
    std::memset(scratch_.back().get(), 0xFF, bytes);  // doubles and floats: NaN
    return reinterpret_cast<V*>(scratch_.back().get());
  }

  template <typename Kernel>
  void Launch(const Kernel& kernel, int64_t blocks) {
    static_assert(std::is_trivially_copyable_v<Kernel>, "a kernel is copied to the GPU");
    using Shared = typename Kernel::Shared;
    using Local = typename Kernel::Local;
    static_assert(sizeof(Shared) <= 48 << 10, "a block has 48 KB");
    // Raw, as on the GPU: no constructor runs.
    const auto shared = std::make_unique<unsigned char[]>(sizeof(Shared));
    const auto locals = std::make_unique<unsigned char[]>(sizeof(Local) * Kernel::kThreads);
    std::vector<int> threads(Kernel::kThreads);
    std::iota(threads.begin(), threads.end(), 0);
    std::vector<int64_t> order(static_cast<size_t>(blocks));
    std::iota(order.begin(), order.end(), int64_t{0});
    std::shuffle(order.begin(), order.end(), random_);
    for (const int64_t block : order) {
      std::memset(shared.get(), 0xFF, sizeof(Shared));
      std::memset(locals.get(), 0xFF, sizeof(Local) * Kernel::kThreads);
      const int64_t steps = kernel.Steps(block);
      for (int64_t step = 0; step < steps; ++step) {
        // A different order in each step: warps overtake each other.
        const auto turn = static_cast<int>(random_() % Kernel::kThreads);
        const bool backwards = random_() % 2;
        for (int t = 0; t < Kernel::kThreads; ++t) {
          const int thread = (turn + (backwards ? Kernel::kThreads - t : t)) % Kernel::kThreads;
          kernel.Step(step, block, thread, reinterpret_cast<Shared*>(shared.get()),
                      reinterpret_cast<Local*>(locals.get()) + thread);
        }
      }
    }
  }

  template <typename V>
  V Read(const V* from) {
    return *from;
  }

  template <typename V>
  void Upload(const V* from, int64_t count, V* to) {
    std::copy(from, from + count, to);
  }

  template <typename V>
  void Zero(V* to, int64_t count) {
    std::memset(static_cast<void*>(to), 0, static_cast<size_t>(count) * sizeof(V));
  }

  void SortPairs(const uint64_t* keys, uint64_t* keys_out, const int32_t* values,
                 int32_t* values_out, int64_t count, int bits) {
    const uint64_t mask = bits < 64 ? (uint64_t{1} << bits) - 1 : ~uint64_t{0};
    std::vector<int64_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
    for (int64_t i = 0; i < count; ++i) {
      keys_out[i] = keys[order[static_cast<size_t>(i)]];
      values_out[i] = values[order[static_cast<size_t>(i)]];
    }
  }

  void InclusiveSum(const int32_t* in, int32_t* out, int64_t count) {
    std::partial_sum(in, in + count, out);
  }

 private:
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<unsigned char[]>> scratch_;
};

}  // namespace hvdrec

#endif  // HVDREC_TESTS_EMULATED_MACHINE_H_
