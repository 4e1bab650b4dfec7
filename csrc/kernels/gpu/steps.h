// Kernels written so that the same code runs on a GPU and, thread after thread, on the host.
//
// A kernel is a struct of plain values and pointers. Its blocks work in steps with a barrier
// between them, and within a step no thread reads what another thread of that step writes:
//
//   struct Kernel {
//     static constexpr int kThreads = 128;
//     struct Shared {...};  // of a block: uninitialized when its first step begins
//     struct Local {...};   // of a thread, kept from step to step
//     HVDREC_HD int64_t Steps(int64_t block) const;  // the number of steps, the same for all
//     threads HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared*, Local*) const;
//   };
//
// A "machine" runs them: CudaMachine (kernels/gpu/gpu_machine.h) on a stream, EmulatedMachine
// (csrc/tests/emulated_machine.h) on the host, threads in any order, which is how they are tested
// where there is no GPU. A machine has
//
//   V* Allocate<V>(n)                    scratch until the call's end
//   Launch(kernel, blocks)               nothing if blocks is 0
//   V Read(from)                         the value there after all earlier work has run
//   Upload(from, n, to)                  from the host
//   Zero(to, n)
//   SortPairs(keys, keys_out, values, values_out, n, bits)   stable, by the lowest bits of the keys
//   InclusiveSum(in, out, n)

#ifndef HVDREC_KERNELS_GPU_STEPS_H_
#define HVDREC_KERNELS_GPU_STEPS_H_

#include <cstdint>
#include <cstring>

#include "kernels/base/host_device.h"

namespace hvdrec {

struct Empty {};

// A kernel of one step without communication between threads: body(i) for i in 0 .. count - 1.
template <typename Body>
struct Each {
  static constexpr int kThreads = 256;
  using Shared = Empty;
  using Local = Empty;

  Body body;
  int64_t count;

  HVDREC_HD int64_t Steps(int64_t) const { return 1; }
  HVDREC_HD void Step(int64_t, int64_t block, int thread, Shared*, Local*) const {
    const int64_t i = block * kThreads + thread;
    if (i < count) body(i);
  }
};

template <typename Machine, typename Body>
void ForEach(Machine& machine, int64_t count, const Body& body) {
  machine.Launch(Each<Body>{body, count},
                 (count + Each<Body>::kThreads - 1) / Each<Body>::kThreads);
}

template <typename T>
struct FillWith {
  T value;
  T* out;

  HVDREC_HD void operator()(int64_t i) const { out[i] = value; }
};

// Adds up values of a struct with `Add(other)`, in an order that depends only on their number.
// Each block folds kItems of them.
template <typename V>
struct Fold {
  static constexpr int kThreads = 256;
  static constexpr int64_t kItems = 4096;
  struct Shared {
    V parts[kThreads];
  };
  using Local = Empty;

  const V* in;
  int64_t count;
  V* out;

  HVDREC_HD int64_t Steps(int64_t) const { return 9; }  // 1 + log2(kThreads)
  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local*) const {
    if (step == 0) {
      V sum = V();
      const int64_t begin = block * kItems;
      const int64_t end = begin + kItems < count ? begin + kItems : count;
      for (int64_t i = begin + thread; i < end; i += kThreads) sum.Add(in[i]);
      shared->parts[thread] = sum;
      return;
    }
    const int half = kThreads >> step;
    if (thread < half) shared->parts[thread].Add(shared->parts[thread + half]);
    if (half == 1 && thread == 0) out[block] = shared->parts[0];
  }
};

// The position of the sum of `count` values, at least one.
template <typename V, typename Machine>
const V* Sum(Machine& machine, const V* values, int64_t count) {
  do {
    const int64_t blocks = (count + Fold<V>::kItems - 1) / Fold<V>::kItems;
    V* const sums = machine.template Allocate<V>(blocks);
    machine.Launch(Fold<V>{values, count, sums}, blocks);
    values = sums;
    count = blocks;
  } while (count > 1);
  return values;
}

// Running sums along segments of items, one block per segment: of each of the first P numbers of an
// item, in place.
template <int P>
struct RunningColumns {
  static constexpr int kThreads = 256;
  static constexpr int kParts = kThreads / P;  // stretches of a segment
  struct Shared {
    double sums[kParts][P];
  };
  using Local = Empty;

  const int32_t* begin;  // by segment; one that ends where it begins is left alone
  const int32_t* end;
  bool backwards;
  int64_t stride;  // of items
  double* values;

  HVDREC_HD int64_t Steps(int64_t segment) const { return begin[segment] < end[segment] ? 3 : 0; }
  HVDREC_HD void Step(int64_t step, int64_t segment, int thread, Shared* shared, Local*) const {
    const int part = thread / P, k = thread % P;
    if (step == 1) {
      if (thread < P) AddBefore(thread, shared);
      return;
    }
    if (part >= kParts) return;
    const int64_t count = end[segment] - begin[segment], each = (count + kParts - 1) / kParts;
    double sum = step == 0 ? 0.0 : shared->sums[part][k];
    for (int64_t i = part * each; i < (part + 1) * each && i < count; ++i) {
      const int64_t item = backwards ? end[segment] - 1 - i : begin[segment] + i;
      sum += values[item * stride + k];
      if (step == 2) values[item * stride + k] = sum;
    }
    if (step == 0) shared->sums[part][k] = sum;
  }

  // Replaces the sum of each part by the sum of the parts before it.
  HVDREC_HD void AddBefore(int k, Shared* shared) const {
    double before = 0;
    for (int part = 0; part < kParts; ++part) {
      const double own = shared->sums[part][k];
      shared->sums[part][k] = before;
      before += own;
    }
  }
};

// Scratch that is reused as long as it is large enough.
template <typename V>
class Room {
 public:
  template <typename Machine>
  V* For(Machine& machine, int64_t count) {
    if (count > capacity_) {
      data_ = machine.template Allocate<V>(count);
      capacity_ = count;
    }
    return data_;
  }

 private:
  V* data_ = nullptr;
  int64_t capacity_ = 0;
};

// Rounded before anything is added to it, as it is on the CPU.
HVDREC_HD inline double Product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

HVDREC_HD inline bool IsFinite(double value) { return value - value == 0; }

// Unsigned numbers in the same order as the numbers, which are finite.
HVDREC_HD inline uint64_t OrderedBits(double value) {
  uint64_t bits;
  value += 0.0;  // -0 and 0 are equal
  memcpy(&bits, &value, sizeof(bits));
  return bits >> 63 ? ~bits : bits | (uint64_t{1} << 63);
}

// The number that has those bits.
HVDREC_HD inline double FromOrderedBits(uint64_t bits) {
  bits = bits >> 63 ? bits ^ (uint64_t{1} << 63) : ~bits;
  double value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// The index, in 0 .. count, of the first of `count` ascending values that is at least `value`.
template <typename V>
HVDREC_HD inline int64_t FirstAtLeast(const V* values, int64_t count, V value) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (values[middle] < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Bits that hold the numbers 0 .. largest.
inline int BitsOf(int64_t largest) {
  int bits = 0;
  while (bits < 63 && (largest >> bits) > 0) ++bits;
  return bits;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_STEPS_H_
