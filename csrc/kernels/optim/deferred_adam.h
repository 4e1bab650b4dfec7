// Adam's update of all rows of a table at a cost that depends only on the rows that a batch
// touches.
//
// A row without a gradient still changes by its moments (adam.h). This is deferred until the row is
// needed. With c_s the corrected rate of step s, a row that was last updated at step t0 has at step
// t = t0 + k the values
//
//   m b1^k,   v b2^k,   value - m sum_{j=1..k} c_{t0+j} b1^j / (a r^j + epsilon),
//   a = sqrt(v),   r = sqrt(b2)
//
// The sum depends on an element only through a. With p a number in the range of the r^j and
// u = a / (a p + epsilon), which is at most 1 / p,
//
//   sum = 1 / (a p + epsilon) sum_{q < Q} (-u)^q M_q,   M_q = sum_j c_{t0+j} b1^j (r^j - p)^q
//
// up to the series' remainder: a factor of (u (r^j - p))^Q in each term. The M_q are the same for
// all rows with the same t0. A step adds a term to those of the last `window` t0; beyond that,
// terms are negligible, and the M_q don't change. A row therefore costs the same for any k.
//
// A table may also have an average, average += away (value - average) after each step. With
// d = 1 - away it is at step t0 + k
//
//   average + (1 - d^k) (value - average) - m sum_j (1 - d^{k-j+1}) c_{t0+j} b1^j / (a r^j +
//   epsilon)
//
// whose sum is the same series with averages N_q of the M_q: N_q += away (M_q - N_q) at each step.
//
// Steps are counted from the last settling, after which every row is at step 0. The same source
// gives the same bits on every machine, for any number of threads and any order of rows.

#ifndef HVDREC_KERNELS_OPTIM_DEFERRED_ADAM_H_
#define HVDREC_KERNELS_OPTIM_DEFERRED_ADAM_H_

#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"

namespace hvdrec {

// A variable [rows, dim] with its moments, and the step [rows] up to which each row is updated.
template <typename T>
struct DeferredTable {
  T* value;
  T* m;
  T* v;
  int32_t* step;
  int64_t rows;
  int64_t dim;
  T* average = nullptr;  // or none
};

// For the tables that are updated together: M_q [kSteps, kRoom], and N_q if they have averages.
struct DeferredSums {
  double* m;
  double* n = nullptr;
};

// T is float, or double to show the accuracy of the method.
template <typename T>
class DeferredAdam {
 public:
  // The maximum number of steps from one settling to the next.
  static constexpr int64_t kSteps = 1 << 14;
  // The maximum number of M_q at each step.
  static constexpr int kRoom = 16;

  // `first` and `second` are 1 - b1 and 1 - b2; `away` is for tables with an average. Throws
  // std::invalid_argument where the series would need more than `kRoom` terms: b1 has to be well
  // below r.
  DeferredAdam(T first, T second, T epsilon, T away = 0);

  // The size of the series; for tests.
  int terms() const { return terms_; }
  int64_t window() const { return window_; }

  // Reads the values of `count` rows after `now` steps into `out` [count, dim]; nothing is changed.
  // The average isn't read. This and the next two throw std::invalid_argument if a row is out of
  // range or `now` is beyond kSteps, before they change anything.
  void Read(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
            const int32_t* rows, int64_t count, T* out, const Parallel& parallel) const;

  // Updates `count` distinct rows, brought up to date with step `now` first, by step now + 1: takes
  // `weight_decay` of their values, then updates by `gradient` [count, dim] with the corrected
  // rate.
  void Update(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
              const int32_t* rows, int64_t count, const T* gradient, T corrected, T weight_decay,
              const Parallel& parallel) const;

  // Brings all rows up to date with step `now`, from which steps are counted again.
  void Settle(const DeferredTable<T>& table, const DeferredSums& sums, int64_t now,
              const Parallel& parallel) const;

  // Adds step now + 1 to the sums.
  void Advance(const DeferredSums& sums, int64_t now, T corrected) const;

 private:
  template <typename Visit>
  void WithTerms(const Visit& visit) const;
  static void CheckNow(int64_t now);
  static void CheckRows(const DeferredTable<T>& table, const int32_t* rows, int64_t count);
  void ChooseSeries(double b1, double r, double tolerance);

  // Advances one row by now - since steps.
  template <int Q>
  void CatchUp(const DeferredTable<T>& table, const DeferredSums& sums, int64_t since, int64_t now,
               int64_t row) const;

  const T first_, second_, epsilon_, away_;
  int terms_ = 0;
  int64_t window_ = 0;
  double middle_ = 0;                 // p
  std::vector<double> term_;          // [window + 1, kRoom]: b1^j (r^j - p)^q
  std::vector<double> stay_;          // [kSteps + 1]: d^k, if there are averages
  std::vector<T> decay_m_, decay_v_;  // [kSteps + 1]: b1^k and b2^k
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_OPTIM_DEFERRED_ADAM_H_
