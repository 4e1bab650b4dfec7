// Compares Adam's deferred update with the sweep over all rows, step by step and in double; and the
// sweep with its definition.

#include "kernels/optim/deferred_adam.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/optim/adam.h"
#include "tests/outputs.h"

namespace hvdrec {
namespace {

constexpr int64_t kRows = 600, kDim = 4, kSize = kRows * kDim;
constexpr int64_t kSums = DeferredAdam<float>::kSteps * DeferredAdam<float>::kRoom;

int cases = 0, failures = 0;

void Check(bool holds, const std::string& what, double found = 0, double bound = 0) {
  ++cases;
  if (holds) return;
  ++failures;
  std::printf("%s: %g, not below %g\n", what.c_str(), found, bound);
}

struct Job {
  std::string name;
  double beta1, beta2, epsilon;
  int64_t steps;
  double smallest, largest;  // gradients, between them evenly in their logarithm
  double away;               // of the averages
};

// The rows of a step and their gradients: some rows occur always, some never, some late.
struct Batch {
  std::vector<int32_t> rows;
  std::vector<double> gradient;
  double corrected;
};

std::vector<Batch> Batches(const Job& job) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform(std::log(job.smallest), std::log(job.largest));
  std::vector<double> scale(kRows);
  for (double& s : scale) s = std::exp(uniform(random));
  std::vector<Batch> made;
  for (int64_t t = 1; t <= job.steps; ++t) {
    Batch batch;
    for (int32_t row = 0; row < kRows; ++row) {
      const bool late = row % 10 == 1 && t < job.steps * 9 / 10;
      if (row % 10 == 0 || late) continue;
      const bool always = row % 10 == 2;
      if (!always && random() % static_cast<unsigned>(1 + row * row) != 0 && !(t == 1 && !late))
        continue;
      batch.rows.push_back(row);
      for (int64_t d = 0; d < kDim; ++d) {
        batch.gradient.push_back(row % 10 == 3 ? 0.0
                                               : scale[static_cast<size_t>(row)] * normal(random));
      }
    }
    // Steps up, down, up from nothing, and a long slope.
    const double rate = t % 700 < 50    ? 1e-5 * static_cast<double>(t % 700)
                        : t % 900 < 450 ? 1e-2
                                        : 1e-3;
    batch.corrected = rate * std::pow(0.999, static_cast<double>(t)) *
                      std::sqrt(1 - std::pow(job.beta2, static_cast<double>(t))) /
                      (1 - std::pow(job.beta1, static_cast<double>(t)));
    made.push_back(batch);
  }
  return made;
}

template <typename T>
struct State {
  std::vector<T> value = std::vector<T>(kSize), m = value, v = value, average = value;
  std::vector<int32_t> step = std::vector<int32_t>(kRows);
  std::vector<double> m_sums = std::vector<double>(kSums), n_sums = m_sums;
  int64_t now = 0;

  DeferredTable<T> table() {
    return {value.data(), m.data(), v.data(), step.data(), kRows, kDim, average.data()};
  }
  DeferredSums sums() { return {m_sums.data(), n_sums.data()}; }
  bool operator==(const State& other) const {
    const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
      return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
    };
    return same(value, other.value) && same(m, other.m) && same(v, other.v) &&
           same(average, other.average) && step == other.step;
  }
};

template <typename T>
void Apply(const DeferredAdam<T>& adam, const Batch& batch, State<T>* state,
           const Parallel& parallel) {
  const std::vector<T> gradient(batch.gradient.begin(), batch.gradient.end());
  adam.Update(state->table(), state->sums(), state->now, batch.rows.data(),
              static_cast<int64_t>(batch.rows.size()), gradient.data(),
              static_cast<T>(batch.corrected), T(0), parallel);
  adam.Advance(state->sums(), state->now++, static_cast<T>(batch.corrected));
}

template <typename T>
void Settle(const DeferredAdam<T>& adam, State<T>* state, const Parallel& parallel) {
  adam.Settle(state->table(), state->sums(), state->now, parallel);
  state->now = 0;
}

struct Truth {
  std::vector<double> value = std::vector<double>(kSize), m = value, v = value, moved = value,
                      average = value;
};

// All rows at each step, in double.
void Sweep(const Batch& batch, double first, double second, double epsilon, double away,
           Truth* truth) {
  std::vector<double> gradient(kSize);
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    std::copy_n(batch.gradient.data() + i * kDim, kDim, gradient.data() + batch.rows[i] * kDim);
  }
  for (size_t i = 0; i < static_cast<size_t>(kSize); ++i) {
    truth->m[i] += (gradient[i] - truth->m[i]) * first;
    truth->v[i] += (gradient[i] * gradient[i] - truth->v[i]) * second;
    const double distance = batch.corrected * truth->m[i] / (std::sqrt(truth->v[i]) + epsilon);
    truth->value[i] -= distance;
    truth->moved[i] += std::abs(distance);
    truth->average[i] -= (truth->average[i] - truth->value[i]) * away;
  }
}

double Norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

template <typename T>
double Distance(const std::vector<T>& found, const std::vector<double>& expected) {
  std::vector<double> left;
  for (size_t i = 0; i < found.size(); ++i) left.push_back(found[i] - expected[i]);
  return Norm(left);
}

// In double, from 0 on: each element within 1e-12 of the sum of its changes.
void Exact(const Job& job) {
  const double first = 1 - job.beta1, second = 1 - job.beta2;
  const DeferredAdam<double> adam(first, second, job.epsilon, job.away);
  State<double> state;
  Truth truth;
  double worst = 0, slots = 0;
  for (const Batch& batch : Batches(job)) {
    Apply(adam, batch, &state, Serial());
    Sweep(batch, first, second, job.epsilon, job.away, &truth);
  }
  Settle(adam, &state, Serial());
  for (size_t i = 0; i < static_cast<size_t>(kSize); ++i) {
    if (truth.moved[i] == 0) {
      worst += state.value[i] != 0;
      continue;
    }
    worst = Worst({worst, std::abs(state.value[i] - truth.value[i]) / truth.moved[i],
                   std::abs(state.average[i] - truth.average[i]) / truth.moved[i]});
    if (truth.v[i] > 1e-290) slots = Worst({slots, std::abs(state.v[i] / truth.v[i] - 1)});
  }
  Check(worst < 1e-12, job.name + ", in double", worst, 1e-12);
  Check(slots < 1e-11, job.name + ", second moments", slots, 1e-11);
  std::printf("%s: %d terms, %ld steps; off by %.1e of the way in double\n", job.name.c_str(),
              adam.terms(), static_cast<long>(adam.window()), worst);
}

// In float, from typical weights of tables: at least as accurate as the sweep in float.
void AsNearAsTheSweep(const Job& job) {
  const float first = 1.0F - static_cast<float>(job.beta1),
              second = 1.0F - static_cast<float>(job.beta2);
  const auto epsilon = static_cast<float>(job.epsilon), away = static_cast<float>(job.away);
  const DeferredAdam<float> adam(first, second, epsilon, away);
  State<float> state, swept;
  Truth truth;
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.05F);
  for (size_t i = 0; i < static_cast<size_t>(kSize); ++i) {
    state.value[i] = swept.value[i] = state.average[i] = normal(random);
    truth.value[i] = truth.average[i] = state.value[i];
  }
  MovingRows moving;
  moving.Reset(kRows);
  for (Batch& batch : Batches(job)) {
    batch.corrected = static_cast<float>(batch.corrected);
    const std::vector<float> gradient(batch.gradient.begin(), batch.gradient.end());
    batch.gradient.assign(gradient.begin(), gradient.end());
    Apply(adam, batch, &state, Serial());
    AdamRows({static_cast<float>(batch.corrected), first, second, epsilon}, batch.rows.data(),
             static_cast<int64_t>(batch.rows.size()), gradient.data(), kDim,
             {swept.value.data(), swept.m.data(), swept.v.data()}, &moving, Serial());
    Sweep(batch, first, second, epsilon, away, &truth);
  }
  Settle(adam, &state, Serial());
  const double whole = Norm(truth.value);
  const double off = Distance(state.value, truth.value) / whole;
  const double sweep = Distance(swept.value, truth.value) / whole;
  const double averages = Distance(state.average, truth.average) / Norm(truth.average);
  Check(off < 1e-6, job.name + ", in float", off, 1e-6);
  Check(averages < 2e-6, job.name + ", averages in float", averages, 2e-6);
  Check(off < 2 * sweep + 1e-9, job.name + ", beside the sweep", off, sweep);
  std::printf("%s: %d terms; in float off by %.1e of the weights, the sweep by %.1e\n",
              job.name.c_str(), adam.terms(), off, sweep);
}

// The same bits for any threads and any order of rows; reading gives the same values as settling.
void SameBits(const Job& job) {
  const DeferredAdam<float> adam(1.0F - static_cast<float>(job.beta1),
                                 1.0F - static_cast<float>(job.beta2),
                                 static_cast<float>(job.epsilon), static_cast<float>(job.away));
  State<float> one, other;
  std::mt19937 random(5);
  for (const Batch& batch : Batches(job)) {
    Apply(adam, batch, &one, Serial());
    Batch shuffled = batch;
    std::vector<size_t> order(batch.rows.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    for (size_t i = 0; i < order.size(); ++i) {
      shuffled.rows[i] = batch.rows[order[i]];
      std::copy_n(batch.gradient.data() + order[i] * kDim, kDim,
                  shuffled.gradient.data() + i * kDim);
    }
    Apply(adam, shuffled, &other, OwnThreads(3));
  }
  Check(one == other, job.name + ", threads");
  std::vector<int32_t> rows(kRows);
  for (int32_t row = 0; row < kRows; ++row) rows[static_cast<size_t>(row)] = kRows - 1 - row;
  std::vector<float> read = Unwritten<float>(kSize), again = read;
  const State<float> before = one;
  adam.Read(one.table(), one.sums(), one.now, rows.data(), kRows, read.data(), OwnThreads(2));
  Check(one == before, job.name + ", reading changes nothing");
  Settle(adam, &one, OwnThreads(2));
  for (int64_t row = 0; row < kRows; ++row) {
    std::copy_n(read.data() + (kRows - 1 - row) * kDim, kDim, again.data() + row * kDim);
  }
  Check(std::memcmp(again.data(), one.value.data(), kSize * sizeof(float)) == 0,
        job.name + ", read");
}

// The same bits for any width, with an average and without: every width and both kinds of table
// have loops of their own. A row of `width` is the same memory as `width` / kDim rows of kDim.
void SameForAnyWidth(const Job& job, int64_t width) {
  const DeferredAdam<float> adam(1.0F - static_cast<float>(job.beta1),
                                 1.0F - static_cast<float>(job.beta2),
                                 static_cast<float>(job.epsilon), static_cast<float>(job.away));
  State<float> narrow, wide;
  const int64_t per_row = width / kDim;
  const DeferredTable<float> table = {wide.value.data(), wide.m.data(),   wide.v.data(),
                                      wide.step.data(),  kRows / per_row, width};
  bool same_read = true;
  for (const Batch& batch : Batches(job)) {
    std::vector<int32_t> rows, parts;
    for (const int32_t row : batch.rows) {
      if (row >= kRows / per_row) break;
      rows.push_back(row);
      for (int64_t i = 0; i < per_row; ++i)
        parts.push_back(static_cast<int32_t>(row * per_row + i));
    }
    const auto count = static_cast<int64_t>(rows.size()), of_parts = count * per_row;
    // Different, so that they don't match where neither is written.
    std::vector<float> read = Unwritten<float>(static_cast<size_t>(count * width)),
                       read_parts(read.size()), gradient(read.size());
    for (size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = static_cast<float>(batch.gradient[i % batch.gradient.size()]);
    }
    const auto corrected = static_cast<float>(batch.corrected);
    const int64_t now = narrow.now++;
    const DeferredSums sums = narrow.sums();
    adam.Read(table, sums, now, rows.data(), count, read.data(), Serial());
    adam.Read(narrow.table(), sums, now, parts.data(), of_parts, read_parts.data(), Serial());
    same_read &= std::memcmp(read.data(), read_parts.data(), read.size() * sizeof(float)) == 0;
    adam.Update(table, sums, now, rows.data(), count, gradient.data(), corrected, 0.0F, Serial());
    adam.Update(narrow.table(), sums, now, parts.data(), of_parts, gradient.data(), corrected, 0.0F,
                Serial());
    adam.Advance(sums, now, corrected);
  }
  const std::string what = job.name + ", width " + std::to_string(width);
  Check(same_read, what + ", read");
  std::fill(wide.step.begin() + kRows / per_row, wide.step.end(), 0);
  adam.Settle(table, narrow.sums(), narrow.now, Serial());
  Settle(adam, &narrow, Serial());
  wide.average = narrow.average;
  Check(wide == narrow, what);
}

// The sweep gives the bits of its definition, for any width and number of threads: rows without
// moments stay what they are, even at a rate that isn't finite, or when they lose their moments.
void SweepByDefinition(int64_t dim, const Parallel& parallel) {
  const int64_t rows = 2500, size = rows * dim;
  const AdamStep step = {0, 0.1F, 0.001F, 1e-8F};
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> value(static_cast<size_t>(size)), m(value.size()), v(value.size());
  for (float& x : value) x = normal(random);
  value[0] = std::numeric_limits<float>::quiet_NaN();
  value[1] = -0.0F;
  auto wanted = value, wanted_m = m, wanted_v = v;
  MovingRows moving;
  moving.Reset(rows);
  std::vector<int32_t> all(static_cast<size_t>(rows));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  for (int t = 0; t < 6; ++t) {
    AdamStep now = step;
    now.rate = t == 4 ? std::numeric_limits<float>::infinity() : 0.01F;
    if (t == 3) {
      for (std::vector<float>* moments : {&m, &v, &wanted_m, &wanted_v}) {
        std::fill_n(moments->begin() + size / 4, size / 4, 0.0F);
      }
    }
    // The last rows have none before the fifth step, and some that are touched get no moments.
    const int64_t among = t < 5 ? rows - 300 : rows;
    std::shuffle(all.begin(), all.begin() + among, random);
    const int64_t count = t == 1 ? 0 : 1500;
    std::vector<float> gradient(static_cast<size_t>(count * dim));
    for (int64_t i = 0; i < count * dim; ++i) {
      gradient[static_cast<size_t>(i)] = i / dim % 5 == 0 ? 0.0F : normal(random);
    }
    std::vector<float> whole(value.size());
    std::vector<char> touched(static_cast<size_t>(rows));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = all[static_cast<size_t>(i)];
      touched[static_cast<size_t>(row)] = 1;
      std::copy_n(gradient.data() + i * dim, dim, whole.data() + row * dim);
    }
    for (int64_t row = 0; row < rows; ++row) {
      const size_t begin = static_cast<size_t>(row * dim), end = begin + static_cast<size_t>(dim);
      bool moves = touched[static_cast<size_t>(row)] != 0;
      for (size_t i = begin; i < end; ++i) moves |= wanted_m[i] != 0 || wanted_v[i] != 0;
      for (size_t i = begin; moves && i < end; ++i) {
        wanted_m[i] += (whole[i] - wanted_m[i]) * now.first;
        wanted_v[i] += (whole[i] * whole[i] - wanted_v[i]) * now.second;
        wanted[i] -= (wanted_m[i] * now.rate) / (std::sqrt(wanted_v[i]) + now.epsilon);
      }
    }
    AdamRows(now, all.data(), count, gradient.data(), dim, {value.data(), m.data(), v.data()},
             &moving, parallel);
    const auto same = [](const std::vector<float>& one, const std::vector<float>& other) {
      return std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0;
    };
    Check(same(value, wanted) && same(m, wanted_m) && same(v, wanted_v),
          "sweep, width " + std::to_string(dim) + ", step " + std::to_string(t));
  }
}

void Refuses(const std::string& what, const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    Check(true, what);
    return;
  }
  Check(false, what + " isn't refused");
}

void Refusals() {
  Refuses("beta1 above the root of beta2", [] { DeferredAdam<float>(0.1F, 0.2F, 1e-8F); });
  Refuses("beta1 near the root of beta2", [] { DeferredAdam<float>(0.1F, 0.15F, 1e-8F); });
  const DeferredAdam<float> adam(0.1F, 0.001F, 1e-8F);
  State<float> state;
  const State<float> before = state;
  const std::vector<int32_t> rows = {1, kRows};
  std::vector<float> gradient(2 * kDim, 1.0F);
  Refuses("a row outside", [&] {
    adam.Update(state.table(), state.sums(), 0, rows.data(), 2, gradient.data(), 1e-3F, 0,
                Serial());
  });
  Refuses("too many steps", [&] { adam.Advance(state.sums(), adam.kSteps, 1e-3F); });
  Check(state == before, "what is refused changes nothing");
}

int Run(bool brief) {
  const int64_t steps = brief ? 300 : 2000;
  for (const Job& job : std::vector<Job>{
           {"usual gradients", 0.9, 0.999, 1e-8, steps, 1e-4, 1e-2, 1e-3},
           {"gradients about epsilon", 0.9, 0.999, 1e-8, steps, 1e-10, 1e-7, 1e-4},
           {"gradients of all sizes", 0.9, 0.999, 1e-8, steps, 1e-12, 1e2, 0.01},
           {"small betas", 0.8, 0.99, 1e-8, steps, 1e-6, 1e-2, 0.5},
           {"large betas", 0.95, 0.9999, 1e-8, steps, 1e-6, 1e-2, 1e-3},
       }) {
    Exact(job);
    AsNearAsTheSweep(job);
    SameBits(job);
    for (const int64_t width : {8, 16, 20, 32}) SameForAnyWidth(job, width);
  }
  for (const int64_t dim : {1, 5, 8, 16, 32, 100}) {
    SweepByDefinition(dim, Serial());
    SweepByDefinition(dim, OwnThreads(3));
  }
  Refusals();
  std::printf("deferred_adam: %d cases, %d failed\n", cases, failures);
  return failures > 0;
}

}  // namespace
}  // namespace hvdrec

int main(int argc, char** argv) {
  return hvdrec::Run(argc > 1 && std::string(argv[1]) == "--short");
}
