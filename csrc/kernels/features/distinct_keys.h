// Numbers the distinct 64-bit keys of a batch in order of first appearance.

#ifndef HVDREC_KERNELS_FEATURES_DISTINCT_KEYS_H_
#define HVDREC_KERNELS_FEATURES_DISTINCT_KEYS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

class DistinctKeys {
 public:
  DistinctKeys();

  // Forgets the keys of the last batch.
  void Begin();

  // The key's place in `found`, to whose end a new one goes.
  int32_t Number(int64_t key) {
    const size_t last = table_.size() - 1;
    size_t at = Home(key);
    while (table_[at].stamp > base_) {
      if (table_[at].key == key) return static_cast<int32_t>(table_[at].stamp - base_ - 1);
      at = (at + 1) & last;
    }
    found_.push_back(key);
    const auto used = static_cast<uint32_t>(found_.size());
    table_[at] = {key, base_ + used};
    if (static_cast<size_t>(used) * 2 > last) Grow();
    return static_cast<int32_t>(used - 1);
  }

  const Array<int64_t>& found() const { return found_; }

 private:
  // A stamp is base_ plus a key's number from 1; one up to base_ is from an earlier batch.
  struct Entry {
    int64_t key;
    uint32_t stamp;
  };

  size_t Home(int64_t key) const {
    return static_cast<size_t>(static_cast<uint64_t>(key) * uint64_t{0x9E3779B97F4A7C15} >> shift_);
  }
  void Grow();

  std::vector<Entry> table_;
  int shift_;
  uint32_t base_ = 0;
  Array<int64_t> found_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_DISTINCT_KEYS_H_
