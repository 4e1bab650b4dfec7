// Groups rows by session.

#ifndef HVDREC_KERNELS_BASE_SESSIONS_H_
#define HVDREC_KERNELS_BASE_SESSIONS_H_

#include <cstdint>
#include <vector>

#include "kernels/base/scratch.h"

namespace hvdrec {

// Positions [begin, end) of a list of rows.
struct Group {
  int64_t begin, end;
};

// Groups the rows of each session, in their order, and returns where each session begins and ends;
// sessions are in the order of their first rows.
//
// Args:
//   sessions: the session of each row.
//   rows: the numbers of the rows; they are reordered.
std::vector<Group> GroupBySession(const int64_t* sessions, Scratch<int32_t>* rows);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_SESSIONS_H_
