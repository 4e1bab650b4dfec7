#include "kernels/features/distinct_keys.h"

#include <algorithm>

namespace hvdrec {
namespace {

constexpr int kFirstTableBits = 10;
// A batch has fewer than 2^31 keys, so its stamps fit.
constexpr uint32_t kMostBase = uint32_t{1} << 31;

}  // namespace

DistinctKeys::DistinctKeys()
    : table_(size_t{1} << kFirstTableBits, Entry{0, 0}), shift_(64 - kFirstTableBits) {}

void DistinctKeys::Begin() {
  base_ += static_cast<uint32_t>(found_.size());
  found_.clear();
  if (base_ < kMostBase) return;
  std::fill(table_.begin(), table_.end(), Entry{0, 0});
  base_ = 0;
}

void DistinctKeys::Grow() {
  std::vector<Entry> old(table_.size() * 2, Entry{0, 0});
  old.swap(table_);
  --shift_;
  for (const Entry& entry : old) {
    if (entry.stamp <= base_) continue;
    size_t at = Home(entry.key);
    while (table_[at].stamp > base_) at = (at + 1) & (table_.size() - 1);
    table_[at] = entry;
  }
}

}  // namespace hvdrec
