// Losses of lists: the rows of one session compete for a softmax.

#ifndef HVDREC_KERNELS_LISTS_LISTS_H_
#define HVDREC_KERNELS_LISTS_LISTS_H_

#include <cstdint>
#include <string>

#include "kernels/base/parallel.h"

namespace hvdrec {

// The meaning of the labels of a session: the shares t of its rows, logits whose softmax gives the
// shares, or numbers proportional to them.
enum class ListLabels { kShares, kLogits, kMasses };

// Throws std::invalid_argument if there is none with that name.
ListLabels ParseListLabels(const std::string& name);

template <typename T>
struct ListRows {
  const T* scores;
  const T* labels;
  const int64_t* sessions;  // nullptr: all rows are one session
  int64_t count;
};

// The mean over sessions of -sum of t_i log softmax(score)_i, the softmax over the session's rows,
// and its gradient by the scores ([count], overwritten). 0 without rows. Time and memory O(n).
template <typename T>
double Listwise(const ListRows<T>& rows, ListLabels form, const Parallel& parallel, T* gradient);

template <typename T>
struct HybridRows {
  const T* logits;          // [count, 2]: of label 0 and of label 1
  const int32_t* labels;    // 1, or anything else for 0
  const T* weights;         // nullptr: all are 1
  const int64_t* sessions;  // nullptr: all rows are one session
  int64_t count;
};

// The likelihood of the row with a label within its session, and the gradient by the logits
// ([count, 2], overwritten).
//
// With `same_label`, V of a session is the sum over its rows of -log softmax of the logit of their
// own label over the session's rows, and the loss is the mean over all rows of weight * V / rows of
// the session. Without it, a row competes only with those of the other label: the mean of weight *
// log(1 + exp(LSE - logit)), with the logit of its own label, and the LSE of the same logit over
// the session's rows with the other label. 0 without rows. Time and memory O(n).
template <typename T>
double Hybrid(const HybridRows<T>& rows, bool same_label, const Parallel& parallel, T* gradient);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LISTS_LISTS_H_
