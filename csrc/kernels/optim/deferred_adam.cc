#include "kernels/optim/deferred_adam.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/base/flush_denormals.h"
#include "kernels/base/width.h"

namespace hvdrec {
namespace {

// Rows that a thread processes at a time.
constexpr int64_t kChunk = 256;
// Rows that are prefetched ahead of the current one, and before that their steps.
constexpr int64_t kAhead = 12;
constexpr int64_t kStepAhead = 24;
constexpr int64_t kLine = 64;

// The series of one row.
template <int Q, typename T>
struct Series {
  T sums[Q];

  explicit Series(const double* from) {
    for (int q = 0; q < Q; ++q) sums[q] = static_cast<T>(from[q]);
  }

  T At(T u) const {
    T sum = sums[Q - 1];
    for (int q = Q - 2; q >= 0; --q) sum = sums[q] - u * sum;
    return sum;
  }
};

// The values that an element's sums depend on.
template <typename T>
struct Element {
  T inverse, u;

  Element(T v, T middle, T epsilon) {
    const T a = std::sqrt(v);
    inverse = T(1) / (a * middle + epsilon);
    u = a * inverse;
  }
};

// What brings a row up to date.
template <int Q, typename T>
struct Wait {
  Series<Q, T> series;
  T middle, epsilon, decay_m, decay_v;

  T Value(T value, T m, T v) const {
    const Element<T> element(v, middle, epsilon);
    return value - m * (element.inverse * series.At(element.u));
  }
};

// The same for all rows, by the step up to which each of them is updated.
template <typename T>
struct Waits {
  const double* sums;
  T middle, epsilon;
  const T *decay_m, *decay_v;

  template <int Q>
  Wait<Q, T> Of(int64_t since, int64_t now, int64_t room) const {
    const int64_t k = now - since;
    return {Series<Q, T>(sums + since * room), middle, epsilon, decay_m[k], decay_v[k]};
  }
};

// An update by a gradient.
template <typename T>
struct Touch {
  T first, second, epsilon, corrected;

  void Apply(T g, T* value, T* m, T* v) const {
    *m += (g - *m) * first;
    *v += (g * g - *v) * second;
    *value -= (*m * corrected) / (std::sqrt(*v) + epsilon);
  }
};

// The loops over the elements of a row are functions whose numbers are copies: they aren't
// vectorised if, for what the compiler knows, storing an element might change one of the numbers.
// That costs more than all else: the roots and divisions of single elements take longer than
// fetching the row.
template <int Q, typename T>
inline void Look(const Wait<Q, T> wait, int64_t dim, const T* __restrict value,
                 const T* __restrict m, const T* __restrict v, T* __restrict to) {
  for (int64_t d = 0; d < dim; ++d) to[d] = wait.Value(value[d], m[d], v[d]);
}

template <int Q, typename T>
inline void MoveOn(const Wait<Q, T> wait, int64_t dim, T* __restrict value, T* __restrict m,
                   T* __restrict v) {
  for (int64_t d = 0; d < dim; ++d) {
    value[d] = wait.Value(value[d], m[d], v[d]);
    m[d] *= wait.decay_m;
    v[d] *= wait.decay_v;
  }
}

template <typename T>
inline void Apply(const Touch<T> touch, int64_t dim, const T* __restrict g, T* __restrict value,
                  T* __restrict m, T* __restrict v) {
  for (int64_t d = 0; d < dim; ++d) touch.Apply(g[d], value + d, m + d, v + d);
}

// `MoveOn` and `Apply` with the elements in registers between them.
template <int Q, typename T>
inline void MoveOnAndApply(const Wait<Q, T> wait, const Touch<T> touch, int64_t dim,
                           const T* __restrict g, T* __restrict value, T* __restrict m,
                           T* __restrict v) {
  for (int64_t d = 0; d < dim; ++d) {
    T value_d = wait.Value(value[d], m[d], v[d]);
    T m_d = m[d] * wait.decay_m, v_d = v[d] * wait.decay_v;
    touch.Apply(g[d], &value_d, &m_d, &v_d);
    value[d] = value_d;
    m[d] = m_d;
    v[d] = v_d;
  }
}

template <typename T>
inline void Shrink(const T decay, int64_t dim, T* __restrict value) {
  for (int64_t d = 0; d < dim; ++d) value[d] -= decay * value[d];
}

template <typename T>
inline void Follow(const T away, int64_t dim, const T* __restrict value, T* __restrict average) {
  for (int64_t d = 0; d < dim; ++d) average[d] -= (average[d] - value[d]) * away;
}

// WithWidth for the usual series only: each pair of width and series takes its time to compile.
template <typename T, int Q, typename Call>
void WithUsualWidth(int64_t dim, const Call& call) {
  if constexpr (std::is_same_v<T, float> && Q == 4) {
    WithWidth(dim, call);
  } else {
    call(std::integral_constant<int64_t, kAnyWidth>());
  }
}

template <typename T>
inline void Fetch(const T* row, int64_t dim) {
  const char* const begin = reinterpret_cast<const char*>(row);
  const int64_t bytes = dim * static_cast<int64_t>(sizeof(T));
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(begin + at);
}

// Calls body(i) for i from `begin` to `end`, with the table's rows[i] on their way.
template <typename T, typename Body>
inline void ForRows(const DeferredTable<T>& table, int64_t dim, const int32_t* rows, int64_t begin,
                    int64_t end, const Body& body) {
  const auto fetch_step = [&](int64_t i) {
    if (i < end) __builtin_prefetch(table.step + rows[i]);
  };
  const auto fetch = [&](int64_t i) {
    if (i >= end) return;
    const int64_t at = rows[i] * dim;
    Fetch(table.value + at, dim);
    Fetch(table.m + at, dim);
    Fetch(table.v + at, dim);
    if (table.average != nullptr) Fetch(table.average + at, dim);
  };
  for (int64_t i = begin; i < begin + kStepAhead; ++i) fetch_step(i);
  for (int64_t i = begin; i < begin + kAhead; ++i) fetch(i);
  for (int64_t i = begin; i < end; ++i) {
    fetch_step(i + kStepAhead);
    fetch(i + kAhead);
    body(i);
  }
}

template <typename T>
inline bool AllZero(const T* __restrict m, const T* __restrict v, int64_t size) {
  bool zero = true;
  for (int64_t i = 0; i < size; ++i) zero &= (m[i] == T(0)) & (v[i] == T(0));
  return zero;
}

template <typename T>
inline bool Same(const T* __restrict one, const T* __restrict other, int64_t size) {
  bool same = true;
  for (int64_t i = 0; i < size; ++i) same &= one[i] == other[i];
  return same;
}

// By products only, so that it gives the same bits on every machine.
double Power(double base, int exponent) {
  double power = 1;
  for (int i = 0; i < exponent; ++i) power *= base;
  return power;
}

// Largest fraction of the remainder in the sum of the first k terms, for any k, at epsilon 0, if
// rates have been equal or the last one is kJump times those before.
double Remainder(double b1, double r, double p, int64_t window, int terms) {
  constexpr double kJump = 1000;
  double whole = 0, left = 0, worst = 0, weight = 1, power = 1;
  for (int64_t j = 1; j <= window; ++j) {
    weight *= b1;
    power *= r;
    const double x = (power - p) / p;
    const double term = weight / (1 + x), beyond = term * Power(std::abs(x), terms);
    whole += term;
    left += beyond;
    if (whole > 0) {
      worst = std::max({worst, left / whole, (left + kJump * beyond) / (whole + kJump * term)});
    }
  }
  return worst;
}

}  // namespace

template <typename T>
DeferredAdam<T>::DeferredAdam(T first, T second, T epsilon, T away)
    : first_(first), second_(second), epsilon_(epsilon), away_(away) {
  const double b1 = 1.0 - static_cast<double>(first), b2 = 1.0 - static_cast<double>(second);
  const double r = std::sqrt(b2), bit = std::numeric_limits<T>::epsilon();
  // A term is at most (b1 / r)^j of the first one.
  double left = 1;
  for (; left > bit / 512 && window_ < kSteps / 2; ++window_) left *= b1 / r;
  if (left <= bit / 512) ChooseSeries(b1, r, std::max(bit / 4, 1e-13));
  if (terms_ == 0) {
    throw std::invalid_argument("rows can't be updated late with beta1 " + std::to_string(b1) +
                                " and beta2 " + std::to_string(b2) +
                                ": beta1 has to be well below the root of beta2");
  }
  term_.resize(static_cast<size_t>((window_ + 1) * kRoom));
  double weight = 1, power = 1;
  for (int64_t j = 1; j <= window_; ++j) {
    weight *= b1;
    power *= r;
    double value = weight;
    for (int q = 0; q < terms_; ++q, value *= power - middle_) {
      term_[static_cast<size_t>(j * kRoom + q)] = value;
    }
  }
  double m = 1, v = 1, stay = 1;
  for (int64_t k = 0; k <= kSteps; ++k, m *= b1, v *= b2, stay *= 1.0 - away) {
    decay_m_.push_back(static_cast<T>(m));
    decay_v_.push_back(static_cast<T>(v));
    if (away > T(0)) stay_.push_back(stay);
  }
}

template <typename T>
void DeferredAdam<T>::ChooseSeries(double b1, double r, double tolerance) {
  double lowest = 1;
  for (int64_t j = 0; j < window_; ++j) lowest *= r;
  constexpr int kTried = 64;
  for (const int terms : {4, 6, 8, 12, kRoom}) {
    double best = tolerance;
    for (int i = 0; i <= kTried; ++i) {
      const double p = lowest + (r - lowest) * i / kTried;
      const double left = Remainder(b1, r, p, window_, terms);
      if (left >= best) continue;
      best = left;
      terms_ = terms;
      middle_ = p;
    }
    if (terms_ > 0) return;
  }
}

template <typename T>
template <typename Visit>
void DeferredAdam<T>::WithTerms(const Visit& visit) const {
  switch (terms_) {
    case 4:
      return visit(std::integral_constant<int, 4>());
    case 6:
      return visit(std::integral_constant<int, 6>());
    case 8:
      return visit(std::integral_constant<int, 8>());
    case 12:
      return visit(std::integral_constant<int, 12>());
    default:
      return visit(std::integral_constant<int, kRoom>());
  }
}

template <typename T>
void DeferredAdam<T>::CheckNow(int64_t now) {
  if (now < 0 || now >= kSteps) {
    throw std::invalid_argument("step " + std::to_string(now) + " since the rows were settled: " +
                                std::to_string(kSteps) + " at most");
  }
}

template <typename T>
void DeferredAdam<T>::CheckRows(const DeferredTable<T>& table, const int32_t* rows, int64_t count) {
  const auto outside = [&](int32_t row) { return row < 0 || row >= table.rows; };
  // Without a branch for each row.
  bool any = false;
  for (int64_t i = 0; i < count; ++i) any |= outside(rows[i]);
  if (!any) return;
  const int32_t row = *std::find_if(rows, rows + count, outside);
  throw std::invalid_argument("row " + std::to_string(row) + " is outside of a table of " +
                              std::to_string(table.rows) + " rows");
}

template <typename T>
template <int Q>
void DeferredAdam<T>::CatchUp(const DeferredTable<T>& table, const DeferredSums& sums,
                              int64_t since, int64_t now, int64_t row) const {
  const int64_t dim = table.dim;
  T* const __restrict value = table.value + row * dim;
  T* const __restrict m = table.m + row * dim, * const __restrict v = table.v + row * dim;
  const Waits<T> waits = {sums.m, static_cast<T>(middle_), epsilon_, decay_m_.data(),
                          decay_v_.data()};
  if (table.average != nullptr) {
    // Beyond the window M_q stays the same, and N_q approaches it at each step.
    const double* const whole = sums.m + since * kRoom;
    const double* const part = sums.n + since * kRoom;
    const double stay = stay_[static_cast<size_t>(std::max(now - since - window_, int64_t{0}))];
    double sums_n[Q];
    for (int q = 0; q < Q; ++q) sums_n[q] = whole[q] + stay * (part[q] - whole[q]);
    const Series<Q, T> averaged(sums_n);
    const T share = static_cast<T>(1.0 - stay_[static_cast<size_t>(now - since)]);
    const T middle = waits.middle, epsilon = epsilon_;
    T* const __restrict average = table.average + row * dim;
    for (int64_t d = 0; d < dim; ++d) {
      const Element<T> element(v[d], middle, epsilon);
      average[d] +=
          share * (value[d] - average[d]) - m[d] * (element.inverse * averaged.At(element.u));
    }
  }
  MoveOn(waits.template Of<Q>(since, now, kRoom), dim, value, m, v);
}

template <typename T>
void DeferredAdam<T>::Read(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
                           const int32_t* rows, int64_t count, T* out,
                           const Parallel& parallel) const {
  CheckNow(now);
  CheckRows(table, rows, count);
  const Waits<T> waits = {sums.m, static_cast<T>(middle_), epsilon_, decay_m_.data(),
                          decay_v_.data()};
  WithTerms([&](auto terms) {
    WithUsualWidth<T, terms>(table.dim, [&](auto width) {
      const int64_t dim = width == kAnyWidth ? table.dim : width;
      ForChunks(parallel, count, kChunk, [&, dim](int64_t, int64_t begin, int64_t end) {
        const FlushDenormals flushed;
        ForRows(table, dim, rows, begin, end, [&](int64_t i) {
          const int64_t row = rows[i], at = row * dim, since = table.step[row];
          if (since >= now) {
            std::copy_n(table.value + at, dim, out + i * dim);
            return;
          }
          Look(waits.template Of<terms>(since, now, kRoom), dim, table.value + at, table.m + at,
               table.v + at, out + i * dim);
        });
      });
    });
  });
}

template <typename T>
void DeferredAdam<T>::Update(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
                             const int32_t* rows, int64_t count, const T* gradient, T corrected,
                             T weight_decay, const Parallel& parallel) const {
  CheckNow(now);
  CheckRows(table, rows, count);
  const Waits<T> waits = {sums.m, static_cast<T>(middle_), epsilon_, decay_m_.data(),
                          decay_v_.data()};
  const Touch<T> touch = {first_, second_, epsilon_, corrected};
  const bool by_gradient_only = weight_decay == T(0) && table.average == nullptr;
  WithTerms([&](auto terms) {
    WithUsualWidth<T, terms>(table.dim, [&](auto width) {
      const int64_t dim = width == kAnyWidth ? table.dim : width;
      ForChunks(parallel, count, kChunk, [&, dim](int64_t, int64_t begin, int64_t end) {
        const FlushDenormals flushed;
        ForRows(table, dim, rows, begin, end, [&](int64_t i) {
          const int64_t row = rows[i], at = row * dim, since = table.step[row];
          T *const value = table.value + at, *const m = table.m + at, *const v = table.v + at;
          const T* const g = gradient + i * dim;
          table.step[row] = static_cast<int32_t>(now) + 1;
          if (since < now && by_gradient_only) {
            MoveOnAndApply(waits.template Of<terms>(since, now, kRoom), touch, dim, g, value, m, v);
            return;
          }
          if (since < now) CatchUp<terms>(table, sums, since, now, row);
          if (weight_decay != T(0)) Shrink(weight_decay, dim, value);
          Apply(touch, dim, g, value, m, v);
          if (table.average != nullptr) Follow(away_, dim, value, table.average + at);
        });
      });
    });
  });
}

template <typename T>
void DeferredAdam<T>::Settle(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
                             const Parallel& parallel) const {
  if (now == 0) return;
  if (now < 0 || now > kSteps) CheckNow(now);
  WithTerms([&](auto terms) {
    ForChunks(parallel, table.rows, kChunk, [&](int64_t, int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      const int64_t dim = table.dim;
      for (int64_t row = begin; row < end; ++row) {
        const int64_t at = row * dim, since = table.step[row];
        table.step[row] = 0;
        const bool rests =
            AllZero(table.m + at, table.v + at, dim) &&
            (table.average == nullptr || Same(table.average + at, table.value + at, dim));
        if (since < now && !rests) CatchUp<decltype(terms)::value>(table, sums, since, now, row);
      }
    });
  });
}

template <typename T>
void DeferredAdam<T>::Advance(const DeferredSums& sums, int64_t now, T corrected) const {
  CheckNow(now);
  const double rate = corrected;
  // Rows of step `now` get their first term, others an additional one.
  std::fill_n(sums.m + now * kRoom, kRoom, 0.0);
  if (sums.n != nullptr) std::fill_n(sums.n + now * kRoom, kRoom, 0.0);
  for (int64_t since = std::max<int64_t>(now + 1 - window_, 0); since <= now; ++since) {
    const double* const term = term_.data() + (now + 1 - since) * kRoom;
    double* const sum = sums.m + since * kRoom;
    for (int q = 0; q < terms_; ++q) sum[q] += rate * term[q];
    if (sums.n == nullptr) continue;
    double* const averaged = sums.n + since * kRoom;
    for (int q = 0; q < terms_; ++q) averaged[q] += away_ * (sum[q] - averaged[q]);
  }
}

template class DeferredAdam<float>;
template class DeferredAdam<double>;

}  // namespace hvdrec
