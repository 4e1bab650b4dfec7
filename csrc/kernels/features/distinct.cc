#include "kernels/features/distinct.h"

#include <algorithm>
#include <utility>

namespace hvdrec {
namespace {

// 512 KiB of direct_.
constexpr int32_t kMostDirect = 1 << 16;
constexpr int kFirstTableBits = 10;

}  // namespace

Distinct::Distinct(int32_t limit) {
  if (limit <= kMostDirect) {
    // One more, so that a bank without rows isn't taken for a large one.
    direct_.resize(static_cast<size_t>(limit) + 1);
  } else {
    table_.resize(size_t{1} << kFirstTableBits);
    shift_ = 32 - kFirstTableBits;
  }
}

void Distinct::Begin() {
  std::fill(table_.begin(), table_.end(), Entry{0, 0});
  used_ = 0;
  if (++round_ == 0) {
    std::fill(direct_.begin(), direct_.end(), 0);
    round_ = 1;
  }
}

void Distinct::Grow() {
  std::vector<Entry> old(table_.size() * 2);
  old.swap(table_);
  --shift_;
  for (const Entry& entry : old) {
    if (entry.number == 0) continue;
    size_t at = Home(entry.value);
    while (table_[at].number != 0) at = (at + 1) & (table_.size() - 1);
    table_[at] = entry;
  }
}

}  // namespace hvdrec
