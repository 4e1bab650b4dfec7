// Rows put together by session.

#ifndef HVDREC_KERNELS_BASE_SESSIONS_H_
#define HVDREC_KERNELS_BASE_SESSIONS_H_

#include <cstdint>
#include <vector>

#include "kernels/base/scratch.h"

namespace hvdrec {

// Places [begin, end) of a list of rows.
struct Group {
  int64_t begin, end;
};

// Gathers the rows of each session, which keep their order, and gives where each begins and ends;
// sessions come in the order of their first rows.
//
// Args:
//   sessions: the session of each row.
//   rows: the numbers of the rows; put in order.
std::vector<Group> GroupBySession(const int64_t* sessions, Scratch<int32_t>* rows);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_SESSIONS_H_
