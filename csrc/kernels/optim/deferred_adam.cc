#include "kernels/optim/deferred_adam.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/base/flush_denormals.h"

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

template <typename T>
inline void Fetch(const T* row, int64_t dim, bool write) {
  const char* const begin = reinterpret_cast<const char*>(row);
  const int64_t bytes = dim * static_cast<int64_t>(sizeof(T));
  for (int64_t at = 0; at < bytes; at += kLine) {
    if (write) {
      __builtin_prefetch(begin + at, 1);
    } else {
      __builtin_prefetch(begin + at, 0);
    }
  }
}

template <typename T>
inline void FetchAhead(const DeferredTable<T>& table, const int32_t* rows, int64_t i, int64_t end,
                       bool write) {
  if (i + kStepAhead < end) __builtin_prefetch(table.step + rows[i + kStepAhead], 1);
  if (i + kAhead >= end) return;
  const int64_t at = rows[i + kAhead] * table.dim;
  Fetch(table.value + at, table.dim, write);
  Fetch(table.m + at, table.dim, write);
  Fetch(table.v + at, table.dim, write);
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
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] < 0 || rows[i] >= table.rows) {
      throw std::invalid_argument("row " + std::to_string(rows[i]) + " is outside of a table of " +
                                  std::to_string(table.rows) + " rows");
    }
  }
}

template <typename T>
template <int Q>
void DeferredAdam<T>::CatchUp(const DeferredTable<T>& table, const DeferredSums& sums,
                              int64_t since, int64_t now, int64_t row) const {
  const int64_t dim = table.dim;
  T* const __restrict value = table.value + row * dim;
  T* const __restrict m = table.m + row * dim, * const __restrict v = table.v + row * dim;
  const auto k = static_cast<size_t>(now - since);
  const T middle = static_cast<T>(middle_), decay_m = decay_m_[k], decay_v = decay_v_[k];
  const double* const whole = sums.m + since * kRoom;
  const Series<Q, T> series(whole);
  if (table.average != nullptr) {
    // Beyond the window M_q stays the same, and N_q approaches it at each step.
    const double* const part = sums.n + since * kRoom;
    const double stay = stay_[static_cast<size_t>(std::max(now - since - window_, int64_t{0}))];
    double sums_n[Q];
    for (int q = 0; q < Q; ++q) sums_n[q] = whole[q] + stay * (part[q] - whole[q]);
    const Series<Q, T> averaged(sums_n);
    const T share = static_cast<T>(1.0 - stay_[k]);
    T* const __restrict average = table.average + row * dim;
    for (int64_t d = 0; d < dim; ++d) {
      const Element<T> element(v[d], middle, epsilon_);
      average[d] +=
          share * (value[d] - average[d]) - m[d] * (element.inverse * averaged.At(element.u));
    }
  }
  for (int64_t d = 0; d < dim; ++d) {
    const Element<T> element(v[d], middle, epsilon_);
    value[d] -= m[d] * (element.inverse * series.At(element.u));
    m[d] *= decay_m;
    v[d] *= decay_v;
  }
}

template <typename T>
void DeferredAdam<T>::Read(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
                           const int32_t* rows, int64_t count, T* out,
                           const Parallel& parallel) const {
  CheckNow(now);
  CheckRows(table, rows, count);
  WithTerms([&](auto terms) {
    ForChunks(parallel, count, kChunk, [&](int64_t, int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      const int64_t dim = table.dim;
      const T middle = static_cast<T>(middle_);
      for (int64_t i = begin; i < end; ++i) {
        FetchAhead(table, rows, i, end, false);
        const int64_t row = rows[i], at = row * dim, since = table.step[row];
        T* const __restrict to = out + i * dim;
        const T* const __restrict value = table.value + at;
        if (since >= now) {
          std::copy_n(value, dim, to);
          continue;
        }
        const T* const __restrict m = table.m + at, * const __restrict v = table.v + at;
        const Series<decltype(terms)::value, T> series(sums.m + since * kRoom);
        for (int64_t d = 0; d < dim; ++d) {
          const Element<T> element(v[d], middle, epsilon_);
          to[d] = value[d] - m[d] * (element.inverse * series.At(element.u));
        }
      }
    });
  });
}

template <typename T>
void DeferredAdam<T>::Update(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
                             const int32_t* rows, int64_t count, const T* gradient, T corrected,
                             T weight_decay, const Parallel& parallel) const {
  CheckNow(now);
  CheckRows(table, rows, count);
  WithTerms([&](auto terms) {
    ForChunks(parallel, count, kChunk, [&](int64_t, int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      const int64_t dim = table.dim;
      for (int64_t i = begin; i < end; ++i) {
        FetchAhead(table, rows, i, end, true);
        const int64_t row = rows[i], since = table.step[row];
        if (since < now) CatchUp<decltype(terms)::value>(table, sums, since, now, row);
        T* const __restrict value = table.value + row * dim;
        T* const __restrict m = table.m + row * dim, * const __restrict v = table.v + row * dim;
        const T* const __restrict g = gradient + i * dim;
        if (weight_decay != T(0)) {
          for (int64_t d = 0; d < dim; ++d) value[d] -= weight_decay * value[d];
        }
        for (int64_t d = 0; d < dim; ++d) {
          m[d] += (g[d] - m[d]) * first_;
          v[d] += (g[d] * g[d] - v[d]) * second_;
          value[d] -= (m[d] * corrected) / (std::sqrt(v[d]) + epsilon_);
        }
        if (table.average != nullptr) {
          T* const __restrict average = table.average + row * dim;
          for (int64_t d = 0; d < dim; ++d) average[d] -= (average[d] - value[d]) * away_;
        }
        table.step[row] = static_cast<int32_t>(now) + 1;
      }
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
