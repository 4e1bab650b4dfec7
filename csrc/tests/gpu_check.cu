// Compares the CUDA kernels with the CPU's on this machine's GPU, and times them.
//
// Writes one JSON document. Exit status: 0 all pass; 1 some differ, or CUDA reports an error; 3
// there is no usable GPU.
//
//   --short            no more than 16,384 rows of pairs and 1,000 of embeddings
//   --rows N           no more than N of either
//   --from N           no fewer
//   --only FORM        pairs, cut (pairs of which some are left out) or embeddings
//   --runs N           that are timed; 10

#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "kernels/gpu/gpu_losses.h"
#include "kernels/gpu/gpu_machine.h"
#include "tests/arena_scratch.h"
#include "tests/loss_cases.h"

namespace hvdrec {
namespace {

constexpr int kNoDevice = 3;

// What to check.
struct Choice {
  int64_t pairs = 1000000, embeddings = 16384, from = 0;  // rows: at most, at least
  std::string only;                                       // empty: all forms
  int runs = 10;

  bool Wants(const char* form) const { return only.empty() || only == form; }
};

// A copy on the GPU of some of the host's values; null if there are none.
template <typename V>
class OnGpu {
 public:
  explicit OnGpu(const std::vector<V>& values) : count_(values.size()) {
    if (values.empty()) return;
    CheckCuda(cudaMalloc(&data_, count_ * sizeof(V)));
    CheckCuda(cudaMemcpy(data_, values.data(), count_ * sizeof(V), cudaMemcpyHostToDevice));
  }
  ~OnGpu() { cudaFree(data_); }
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;

  V* get() const { return data_; }
  std::vector<V> Values() const {
    std::vector<V> values(count_);
    if (count_ == 0) return values;
    CheckCuda(cudaMemcpy(values.data(), data_, count_ * sizeof(V), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  V* data_ = nullptr;
  const size_t count_;
};

// Milliseconds of the fastest of some runs, from the call to the end of its work on the stream.
// Runs end after a few seconds.
template <typename Body>
double Best(int runs, const Body& body) {
  double best = 1e300, spent = 0;
  for (int run = 0; run < runs && spent < 2000; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
    spent += took.count();
  }
  return best;
}

struct Device {
  std::string name;
  int major = 0, minor = 0, runtime = 0;
  double bandwidth = 0;  // bytes a second of a plain copy, read and written
  double flops = 0;      // float32, by clock and lanes
};

double MeasureBandwidth() {
  constexpr size_t kBytes = size_t{256} << 20;
  char *from, *to;
  CheckCuda(cudaMalloc(&from, kBytes));
  CheckCuda(cudaMalloc(&to, kBytes));
  CheckCuda(cudaMemset(from, 1, kBytes));
  const double milliseconds = Best(10, [&] {
    CheckCuda(cudaMemcpy(to, from, kBytes, cudaMemcpyDeviceToDevice));
    CheckCuda(cudaDeviceSynchronize());
  });
  cudaFree(from);
  cudaFree(to);
  return 2.0 * kBytes / (milliseconds * 1e-3);
}

Device Look() {
  Device device;
  cudaDeviceProp properties;
  CheckCuda(cudaGetDeviceProperties(&properties, 0));
  device.name = properties.name;
  device.major = properties.major;
  device.minor = properties.minor;
  CheckCuda(cudaRuntimeGetVersion(&device.runtime));
  int kilohertz = 0;
  CheckCuda(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, 0));
  const int lanes = properties.major == 8 && properties.minor == 0 ? 64 : 128;
  device.flops = 2.0 * lanes * properties.multiProcessorCount * kilohertz * 1e3;
  device.bandwidth = MeasureBandwidth();
  return device;
}

struct Outcome {
  std::string name, type;
  double loss_error = 0, gradient_error = 0, tolerance = 0;
  // The scale of errors if the loss and the gradient are smaller.
  double loss_scale = 1e-290, gradient_scale = 1e-290;
  bool repeats = false;     // the same bits twice
  double gpu = 0, cpu = 0;  // milliseconds
  double scratch = 0;       // bytes of the GPU
  double bytes = 0;         // that must be moved in any case
  double flops = 0;         // of the matrix products; 0: none

  bool Holds() const { return repeats && loss_error <= tolerance && gradient_error <= tolerance; }
};

class Report {
 public:
  Report(const Device& device, int runs) : runs(runs), device_(device) {
    std::printf(
        "{\"device\": \"%s\", \"compute_capability\": \"%d.%d\", \"cuda_runtime\": %d,\n"
        " \"copy_gigabytes_per_second\": %.1f, \"float32_teraflops\": %.1f,\n \"cases\": [",
        device.name.c_str(), device.major, device.minor, device.runtime, device.bandwidth * 1e-9,
        device.flops * 1e-12);
  }

  void Add(const Outcome& o) {
    const double seconds = o.gpu * 1e-3;
    std::printf(
        "%s\n  {\"case\": \"%s\", \"type\": \"%s\", \"holds\": %s, \"loss_error\": %.3g, "
        "\"gradient_error\": %.3g, \"same_bits\": %s, \"gpu_ms\": %.4f, \"cpu_ms\": %.4f, "
        "\"scratch_megabytes\": %.3f, \"gigabytes_per_second\": %.2f, \"of_memory_bound\": %.4f",
        first_ ? "" : ",", o.name.c_str(), o.type.c_str(), o.Holds() ? "true" : "false",
        o.loss_error, o.gradient_error, o.repeats ? "true" : "false", o.gpu, o.cpu,
        o.scratch * 1e-6, o.bytes / seconds * 1e-9, o.bytes / seconds / device_.bandwidth);
    if (o.flops > 0) std::printf(", \"of_gemm_bound\": %.4f", o.flops / seconds / device_.flops);
    std::printf("}");
    std::fflush(stdout);
    first_ = false;
    failed_ += !o.Holds();
  }

  // Of each case.
  const int runs;

  int End() const {
    std::printf("\n ],\n \"failed\": %d}\n", failed_);
    return failed_ > 0;
  }

 private:
  const Device device_;
  bool first_ = true;
  int failed_ = 0;
};

// Runs both and compares; each call returns its loss and writes its gradient to `expected`, and on
// the GPU to `gradient`.
template <typename T, typename OnCpu, typename OnDevice>
Outcome Compare(int runs, Outcome outcome, const OnCpu& on_cpu, const std::vector<T>& expected,
                const OnDevice& on_gpu, const OnGpu<T>& gradient) {
  ArenaScratch scratch;
  const Gpu gpu{nullptr, &scratch};
  const OwnThreads threads(0);
  double cpu_loss = 0, loss = 0;
  outcome.type = sizeof(T) == sizeof(float) ? "float32" : "float64";
  outcome.cpu = Best(2, [&] { cpu_loss = on_cpu(threads); });
  const auto run = [&] {
    scratch.Rewind();
    loss = on_gpu(gpu);
    CheckCuda(cudaDeviceSynchronize());
  };
  run();
  const std::vector<T> first = gradient.Values();
  const double first_loss = loss;
  outcome.scratch = static_cast<double>(scratch.handed_out());
  outcome.gpu = Best(runs, run);
  outcome.repeats = first == gradient.Values() && first_loss == loss;
  outcome.loss_error = Difference(loss, cpu_loss, outcome.loss_scale);
  outcome.gradient_error = Difference(first, expected, outcome.gradient_scale);
  return outcome;
}

template <typename T>
void CheckPairwise(const PairwiseCase& c, Report* report) {
  const PairwiseInput<T> input(c);
  std::vector<T> expected = Unwritten<T>(input.scores.size());
  const PairwiseRows<T> rows{input.scores.data(), input.labels.data(), OrNull(input.weights),
                             OrNull(input.sessions), c.rows};
  const OnGpu<T> scores(input.scores), labels(input.labels), weights(input.weights);
  const OnGpu<int64_t> sessions(input.sessions);
  const OnGpu<T> gradient(expected);
  const PairwiseRows<T> on_gpu{scores.get(), labels.get(), weights.get(), sessions.get(), c.rows};
  Outcome outcome{c.Name()};
  outcome.tolerance = sizeof(T) == sizeof(float) ? 2e-7 : 1e-10;
  outcome.bytes = static_cast<double>(c.rows) *
                  (sizeof(T) * (c.weighted ? 4 : 3) + (c.sessions > 0 ? sizeof(int64_t) : 0));
  report->Add(Compare(
      report->runs, outcome,
      [&](const Parallel& threads) {
        return Pairwise<T>(rows, c.options, threads, expected.data()).loss;
      },
      expected,
      [&](const Gpu& gpu) { return Pairwise<T>(on_gpu, c.options, gpu, gradient.get()).loss; },
      gradient));
}

template <typename T>
void CheckSimilarity(int64_t rows, int64_t dim, bool sessions, Report* report) {
  const SimilarityInput<T> input(rows, dim, 4, sessions ? 3 : 0);
  std::vector<T> expected = Unwritten<T>(input.embeddings.size());
  const OnGpu<T> embeddings(input.embeddings), gradient(expected);
  const OnGpu<int64_t> labels(input.labels), session_ids(input.sessions);
  const SimilarityBatch<T> batch{
      input.embeddings.data(), input.labels.data(), OrNull(input.sessions), rows, dim, 0, rows};
  SimilarityBatch<T> on_gpu = batch;
  on_gpu.embeddings = embeddings.get();
  on_gpu.labels = labels.get();
  on_gpu.sessions = session_ids.get();
  const auto count = static_cast<double>(rows * dim);
  const auto check = [&](const std::string& name, const auto& loss) {
    Outcome outcome{name + " rows " + std::to_string(rows) + " dim " + std::to_string(dim) +
                    (sessions ? " sessions" : "")};
    outcome.tolerance = sizeof(T) == sizeof(float) ? 2e-5 : 1e-11;
    outcome.bytes = 2 * count * sizeof(T) + static_cast<double>(rows) * sizeof(int64_t);
    outcome.flops = 6 * count * static_cast<double>(rows);
    report->Add(Compare(
        report->runs, outcome,
        [&](const Parallel& threads) { return loss(batch, threads, expected.data()); }, expected,
        [&](const Gpu& gpu) { return loss(on_gpu, gpu, gradient.get()); }, gradient));
  };
  check("circle", [](const SimilarityBatch<T>& b, const auto& where, T* to) {
    return CircleLoss(b, CircleOptions(), where, to).loss;
  });
  for (const bool mining : {false, true}) {
    MultiSimilarityOptions options;
    options.lambda = 0.5;
    options.mining = mining;
    check(mining ? "multi_similarity mined" : "multi_similarity",
          [&](const SimilarityBatch<T>& b, const auto& where, T* to) {
            return MultiSimilarityLoss(b, options, where, to).loss;
          });
  }
}

template <typename T>
void CheckSoftmax(int64_t queries, int64_t items, int64_t dim, bool more, Report* report) {
  const SoftmaxInput<T> input(queries, items, dim, more, more);
  // Both gradients, concatenated.
  std::vector<T> expected = Unwritten<T>(input.query_values.size() + input.item_values.size());
  const OnGpu<T> query_values(input.query_values), item_values(input.item_values);
  const OnGpu<T> weights(input.weights), gradient(expected);
  const OnGpu<int64_t> ids(input.ids);
  const SoftmaxBatch<T> batch{input.query_values.data(),
                              input.item_values.data(),
                              OrNull(input.ids),
                              OrNull(input.weights),
                              queries,
                              items,
                              dim,
                              0.25};
  const SoftmaxBatch<T> on_gpu{
      query_values.get(), item_values.get(), ids.get(), weights.get(), queries, items, dim, 0.25};
  Outcome outcome{"in_batch_softmax queries " + std::to_string(queries) + " items " +
                  std::to_string(items) + " dim " + std::to_string(dim) +
                  (more ? " ids, weighted" : "")};
  outcome.tolerance = sizeof(T) == sizeof(float) ? 2e-5 : 1e-11;
  // Logits are rounded, and 1 minus a probability near 1 has the rounding error of 1.
  outcome.loss_scale = 1;
  outcome.gradient_scale = 1 / static_cast<double>(queries);
  outcome.bytes = 2.0 * static_cast<double>(expected.size()) * sizeof(T);
  outcome.flops = 6.0 * static_cast<double>(queries) * static_cast<double>(items * dim);
  const size_t behind = input.query_values.size();
  report->Add(Compare(
      report->runs, outcome,
      [&](const Parallel& threads) {
        return InBatchSoftmax(batch, threads, expected.data(), expected.data() + behind).loss;
      },
      expected,
      [&](const Gpu& gpu) {
        return InBatchSoftmax(on_gpu, gpu, gradient.get(), gradient.get() + behind).loss;
      },
      gradient));
}

void CheckEmbeddingLosses(const Choice& choice, Report* report) {
  for (const int64_t rows : {2, 100, 1000, 4096, 16384}) {
    for (const int64_t dim : {16, 128}) {
      if (rows > choice.embeddings || rows < choice.from) continue;
      CheckSimilarity<float>(rows, dim, false, report);
      CheckSoftmax<float>(rows, rows, dim, false, report);
      if (rows > 4096) continue;
      CheckSimilarity<double>(rows, dim + 3, true, report);
      CheckSoftmax<double>(rows, rows + 77, dim + 3, true, report);
    }
  }
}

void CheckPairwiseLosses(const Choice& choice, Report* report) {
  for (const PairLoss loss : {PairLoss::kLogistic, PairLoss::kFocal, PairLoss::kHinge,
                              PairLoss::kSquaredHinge, PairLoss::kSquare}) {
    PairwiseOptions options;
    options.loss = loss;
    for (const int64_t rows : {1, 2, 1000, 4096, 16384, 100000, 1000000}) {
      if (rows > choice.pairs || rows < choice.from) continue;
      CheckPairwise<float>({rows, 2, 0, false, 2.0, options}, report);
      CheckPairwise<float>({rows, 5, rows / 50, true, 2.0, options}, report);
      options.margin = 0.5;
      CheckPairwise<double>({rows, 0, 0, true, 1e3, options}, report);
      options.margin = 0;
    }
  }
}

// Forms that leave pairs out: the hardest, those below a limit, and both.
void CheckCutPairs(const Choice& choice, Report* report) {
  for (const PairLoss loss : {PairLoss::kLogistic, PairLoss::kFocal, PairLoss::kHinge}) {
    for (const int64_t rows : {1, 2, 1000, 4096, 16384, 100000, 1000000}) {
      if (rows > choice.pairs || rows < choice.from) continue;
      PairwiseOptions options;
      options.loss = loss;
      options.hardest = 0.1;
      CheckPairwise<float>({rows, 2, 0, false, 2.0, options}, report);
      CheckPairwise<float>({rows, 2, 0, true, 2.0, options, true}, report);
      CheckPairwise<float>({rows, 5, rows / 50, true, 2.0, options}, report);
      options.margin = 45;
      CheckPairwise<double>({rows, 0, 0, true, 1e3, options}, report);
      if (loss == PairLoss::kHinge) continue;
      options.margin = 0;
      options.limit = 0.5;
      CheckPairwise<float>({rows, 5, 0, true, 2.0, options}, report);
      options.hardest = 1;
      CheckPairwise<float>({rows, 2, 0, false, 2.0, options}, report);
      CheckPairwise<double>({rows, 5, rows / 50, true, 1e3, options}, report);
    }
  }
}

int Run(const Choice& choice) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "gpu_check: no GPU that can be used (%s): nothing was checked\n",
                 status == cudaSuccess ? "none found" : cudaGetErrorString(status));
    return kNoDevice;
  }
  try {
    Report report(Look(), choice.runs);
    if (choice.Wants("pairs")) CheckPairwiseLosses(choice, &report);
    if (choice.Wants("cut")) CheckCutPairs(choice, &report);
    if (choice.Wants("embeddings")) CheckEmbeddingLosses(choice, &report);
    return report.End();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\ngpu_check: %s\n", error.what());
    return 1;
  }
}

// False if the arguments are invalid.
bool Parse(int argc, char** argv, Choice* choice) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--short") {
      choice->pairs = 16384;
      choice->embeddings = 1000;
      continue;
    }
    if (++i == argc) return false;
    const std::string value = argv[i];
    const long long number = std::atoll(argv[i]);
    if (name == "--only") {
      choice->only = value;
      if (value != "pairs" && value != "cut" && value != "embeddings") return false;
    } else if (number <= 0) {
      return false;
    } else if (name == "--rows") {
      choice->pairs = choice->embeddings = number;
    } else if (name == "--from") {
      choice->from = number;
    } else if (name == "--runs") {
      choice->runs = static_cast<int>(number);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace hvdrec

int main(int argc, char** argv) {
  hvdrec::Choice choice;
  if (!hvdrec::Parse(argc, argv, &choice)) {
    std::fprintf(stderr,
                 "usage: gpu_check [--short] [--rows N] [--from N] [--runs N] "
                 "[--only pairs|cut|embeddings]\n");
    return 2;
  }
  return hvdrec::Run(choice);
}
