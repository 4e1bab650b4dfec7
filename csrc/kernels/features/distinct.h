// Numbers the distinct values of a batch in order of first appearance.

#ifndef HVDREC_KERNELS_FEATURES_DISTINCT_H_
#define HVDREC_KERNELS_FEATURES_DISTINCT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

// Values are below a limit. With a low one there is a place for each; with a high one a hash table
// of the size of the batches, so that it stays in the processor's cache.
class Distinct {
 public:
  explicit Distinct(int32_t limit);

  // Forgets the values of the last batch.
  void Begin();

  // The number of a value, from 1; a new value goes to the end of `values`.
  int32_t Number(int32_t value, Array<int32_t>* values) {
    return direct_.empty() ? Hashed(value, values) : Direct(value, values);
  }

 private:
  struct Entry {
    int32_t value;
    int32_t number;  // 0: free
  };

  int32_t Direct(int32_t value, Array<int32_t>* values) {
    uint64_t& seen = direct_[static_cast<size_t>(value)];
    if (static_cast<uint32_t>(seen >> 32) != round_) {
      values->push_back(value);
      seen = static_cast<uint64_t>(round_) << 32 | values->size();
    }
    return static_cast<int32_t>(static_cast<uint32_t>(seen));
  }

  int32_t Hashed(int32_t value, Array<int32_t>* values) {
    for (size_t at = Home(value);; at = (at + 1) & (table_.size() - 1)) {
      Entry& entry = table_[at];
      if (entry.number != 0) {
        if (entry.value == value) return entry.number;
        continue;
      }
      values->push_back(value);
      entry = {value, static_cast<int32_t>(values->size())};
      if (++used_ * 2 <= table_.size()) return entry.number;
      const int32_t number = entry.number;
      Grow();
      return number;
    }
  }

  size_t Home(int32_t value) const {
    return static_cast<uint32_t>(value) * uint32_t{0x9E3779B1} >> shift_;
  }
  void Grow();

  std::vector<uint64_t> direct_;  // by value: round << 32 | number
  uint32_t round_ = 0;
  std::vector<Entry> table_;
  int shift_ = 0;
  size_t used_ = 0;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_DISTINCT_H_
