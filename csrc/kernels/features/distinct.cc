#include "kernels/features/distinct.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace hvdrec {
namespace {

// 64 KiB of direct_, of which there is one for each feature.
constexpr int32_t kMostDirect = 1 << 14;
constexpr int kFirstTableBits = 10;
// A batch has fewer than 2^31 values, so its stamps fit.
constexpr uint32_t kMostBase = uint32_t{1} << 31;

size_t Home(int32_t value, int shift) {
  return static_cast<uint32_t>(value) * uint32_t{0x9E3779B1} >> shift;
}

}  // namespace

Distinct::Distinct(int32_t limit) : limit_(limit) {
  if (limit <= kMostDirect) {
    // One more, so that a bank without rows isn't treated as a large one.
    direct_.resize(static_cast<size_t>(limit) + 1);
  } else {
    table_.resize(size_t{1} << kFirstTableBits);
    shift_ = 32 - kFirstTableBits;
  }
}

void Distinct::Begin() {
  base_ += used_;
  used_ = 0;
  entries_ = 0;
  if (base_ < kMostBase) return;
  std::fill(direct_.begin(), direct_.end(), 0);
  std::fill(table_.begin(), table_.end(), Entry{0, 0});
  base_ = 0;
}

void Distinct::Number(const int32_t* values, size_t count, int32_t offset, int32_t* numbers,
                      Array<int32_t>* found) {
  Check(values, count, offset);
  used_ = static_cast<uint32_t>(found->size());
  found->resize(found->size() + count);
  if (direct_.empty()) {
    Hashed(values, count, offset, numbers, found->data());
  } else {
    Direct(values, count, offset, numbers, found->data());
  }
  found->resize(used_);
}

void Distinct::Check(const int32_t* values, size_t count, int32_t offset) const {
  int32_t most = -1;
  for (size_t i = 0; i < count; ++i) most = std::max(most, values[i]);
  if (most < 0 || int64_t{offset} + most < limit_) return;
  throw std::out_of_range("id " + std::to_string(most) + " where there are " +
                          std::to_string(limit_ - offset));
}

void Distinct::Direct(const int32_t* values, size_t count, int32_t offset, int32_t* numbers,
                      int32_t* found) {
  uint32_t* const stamps = direct_.data() + offset;
  const uint32_t base = base_;
  uint32_t used = used_;
  for (size_t i = 0; i < count; ++i) {
    const int32_t value = values[i];
    if (value < 0) {
      numbers[i] = 0;
      continue;
    }
    uint32_t stamp = stamps[value];
    if (stamp <= base) {
      found[used] = offset + value;
      stamp = base + ++used;
      stamps[value] = stamp;
    }
    numbers[i] = static_cast<int32_t>(stamp - base);
  }
  used_ = used;
}

void Distinct::Hashed(const int32_t* values, size_t count, int32_t offset, int32_t* numbers,
                      int32_t* found) {
  const uint32_t base = base_;
  for (size_t i = 0; i < count; ++i) {
    if (values[i] < 0) {
      numbers[i] = 0;
      continue;
    }
    const int32_t value = offset + values[i];
    const size_t last = table_.size() - 1;
    size_t at = Home(value, shift_);
    while (table_[at].stamp > base && table_[at].value != value) at = (at + 1) & last;
    if (table_[at].stamp > base) {
      numbers[i] = static_cast<int32_t>(table_[at].stamp - base);
      continue;
    }
    found[used_] = value;
    table_[at] = {value, base + ++used_};
    numbers[i] = static_cast<int32_t>(used_);
    if (++entries_ * 2 > last) Grow();
  }
}

void Distinct::Grow() {
  std::vector<Entry> old(table_.size() * 2);
  old.swap(table_);
  --shift_;
  for (const Entry& entry : old) {
    if (entry.stamp <= base_) continue;
    size_t at = Home(entry.value, shift_);
    while (table_[at].stamp > base_) at = (at + 1) & (table_.size() - 1);
    table_[at] = entry;
  }
}

}  // namespace hvdrec
