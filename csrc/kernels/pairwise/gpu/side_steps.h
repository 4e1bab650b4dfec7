// Steps of the pairwise losses on a GPU that put rows in order: which rows make pairs.
//
// Rows with different labels of one session make pairs. The labels of a session are numbered, 0 the
// lowest; two numbers differ in a highest bit. Each bit is therefore a separate level: rows whose
// numbers agree above that bit are a split, those with a 0 in it the split's lower side and those
// with a 1 its upper side, and every pair is in exactly one split of one level.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_SIDE_STEPS_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_SIDE_STEPS_H_

#include "kernels/gpu/steps.h"
#include "kernels/pairwise/pairwise.h"

namespace hvdrec {
namespace pairwise_steps {

// A side and its partner with at most this many rows are computed pair by pair, larger ones by
// panels or by sums over the rows in reach. Not measured.
constexpr int32_t kDirectRows = 512;

// u = score / temperature - label_scale * label, as double, and what the rows are sorted by.
template <typename T>
struct Prepare {
  PairwiseRows<T> rows;
  double temperature, label_scale;
  double* u;
  uint64_t* score_keys;
  uint64_t* label_keys;
  int32_t* order;  // 0, 1, 2, ...
  int32_t* bad;    // 1: not finite

  HVDREC_HD void operator()(int64_t i) const {
    const double score = rows.scores[i] / temperature - Product(label_scale, rows.labels[i]);
    const bool fine = IsFinite(score) && IsFinite(rows.labels[i]) &&
                      (rows.weights == nullptr || IsFinite(rows.weights[i]));
    u[i] = score;
    score_keys[i] = fine ? OrderedBits(score) : 0;
    label_keys[i] = fine ? OrderedBits(rows.labels[i]) : 0;
    order[i] = static_cast<int32_t>(i);
    bad[i] = !fine;
  }
};

struct SessionKeys {
  const int64_t* sessions;
  const int32_t* order;
  uint64_t* keys;

  HVDREC_HD void operator()(int64_t p) const {
    keys[p] = static_cast<uint64_t>(sessions[order[p]]);
  }
};

// In the order of session and label: 1 where a session begins, and where a label does.
template <typename T>
struct GradeHeads {
  const T* labels;
  const int64_t* sessions;
  const int32_t* order;
  int32_t* session_heads;
  int32_t* grade_heads;

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t row = order[p];
    const bool session = p == 0 || (sessions != nullptr && sessions[row] != sessions[order[p - 1]]);
    session_heads[p] = session;
    grade_heads[p] = session || labels[row] != labels[order[p - 1]];
  }
};

// By session: the number of its first grade.
struct FirstGrades {
  const int32_t* session_heads;
  const int32_t* session_of;  // from 1
  const int32_t* grade_of;    // from 1
  int32_t* first_grade;

  HVDREC_HD void operator()(int64_t p) const {
    if (session_heads[p]) first_grade[session_of[p] - 1] = grade_of[p];
  }
};

struct Largest {
  int32_t value = 0;
  HVDREC_HD void Add(const Largest& other) {
    if (other.value > value) value = other.value;
  }
};

// A label's number within its session.
struct Ranks {
  const int32_t* session_of;
  const int32_t* grade_of;
  const int32_t* first_grade;
  Largest* rank;

  HVDREC_HD void operator()(int64_t p) const {
    rank[p].value = grade_of[p] - first_grade[session_of[p] - 1];
  }
};

// In the order of session and label: 1 where a side of this level begins.
struct SideHeads {
  const int32_t* session_heads;
  const Largest* rank;
  int level;
  int32_t* heads;

  HVDREC_HD void operator()(int64_t p) const {
    heads[p] = session_heads[p] || rank[p].value >> level != rank[p - 1].value >> level;
  }
};

// The sides of a level, in the order of session and label number. A split's lower side comes just
// before its upper one; a side may lack the other.
struct Sides {
  int32_t* begin;    // first place
  int32_t* end;      // after the last
  int32_t* number;   // odd: an upper side
  int32_t* session;  // from 1
  int32_t* first_bin;
  int32_t* last_bin;  // after it

  HVDREC_HD int32_t rows(int32_t side) const { return end[side] - begin[side]; }
  HVDREC_HD bool upper(int32_t side) const { return number[side] & 1; }

  // The side that it makes pairs with, of `count`; -1: none.
  HVDREC_HD int32_t Partner(int32_t side, int32_t count) const {
    if (upper(side)) return side - 1;  // label numbers are consecutive
    const int32_t other = side + 1;
    const bool partners =
        other < count && session[other] == session[side] && number[other] == number[side] + 1;
    return partners ? other : -1;
  }

  HVDREC_HD bool Panels(int32_t side, int32_t count) const {
    const int32_t partner = Partner(side, count);
    return partner >= 0 && rows(side) + rows(partner) > kDirectRows;
  }
};

struct FillSides {
  const int32_t* heads;
  const int32_t* side_of;  // from 1
  const int32_t* session_of;
  const Largest* rank;
  const int32_t* order;
  int level;
  int64_t count;
  Sides sides;
  int32_t* row_side;  // by row, from 0

  HVDREC_HD void operator()(int64_t p) const {
    const int32_t side = side_of[p] - 1;
    row_side[order[p]] = side;
    if (heads[p]) {
      sides.begin[side] = static_cast<int32_t>(p);
      sides.number[side] = rank[p].value >> level;
      sides.session[side] = session_of[p];
    }
    if (p + 1 == count || heads[p + 1]) sides.end[side] = static_cast<int32_t>(p + 1);
  }
};

struct SideKeys {
  const int32_t* by_score;
  const int32_t* row_side;
  uint64_t* keys;

  HVDREC_HD void operator()(int64_t q) const {
    keys[q] = static_cast<uint64_t>(row_side[by_score[q]]);
  }
};

}  // namespace pairwise_steps
}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_SIDE_STEPS_H_
