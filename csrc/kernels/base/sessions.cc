#include "kernels/base/sessions.h"

namespace hvdrec {
namespace {

// The finalizer of MurmurHash3: every bit of an id affects the low bits, so that ids at regular
// intervals of any size are spread out.
uint64_t Mixed(int64_t id) {
  uint64_t hash = static_cast<uint64_t>(id);
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53u;
  return hash ^ (hash >> 33);
}

}  // namespace

std::vector<Group> GroupBySession(const int64_t* sessions, Scratch<int32_t>* rows) {
  const size_t n = rows->size();
  size_t size = 16;
  while (size < 2 * n) size *= 2;
  std::vector<int32_t> table(size, -1);  // the number of the session in that slot
  std::vector<int64_t> ids, counts;
  std::vector<int32_t> number(n);
  for (size_t i = 0; i < n; ++i) {
    const int64_t id = sessions[(*rows)[i]];
    size_t place = Mixed(id) & (size - 1);
    while (table[place] >= 0 && ids[static_cast<size_t>(table[place])] != id) {
      place = (place + 1) & (size - 1);
    }
    if (table[place] < 0) {
      table[place] = static_cast<int32_t>(ids.size());
      ids.push_back(id);
      counts.push_back(0);
    }
    number[i] = table[place];
    ++counts[static_cast<size_t>(table[place])];
  }
  std::vector<Group> groups(ids.size());
  int64_t sum = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    groups[g] = {sum, sum + counts[g]};
    sum = groups[g].end;
    counts[g] = groups[g].begin;
  }
  Scratch<int32_t> sorted(n);
  for (size_t i = 0; i < n; ++i) {
    sorted[static_cast<size_t>(counts[static_cast<size_t>(number[i])]++)] = (*rows)[i];
  }
  rows->swap(sorted);
  return groups;
}

}  // namespace hvdrec
