// Numbers the distinct values of a batch in order of first appearance.

#ifndef HVDREC_KERNELS_FEATURES_DISTINCT_H_
#define HVDREC_KERNELS_FEATURES_DISTINCT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

// Values are below a limit. With a low limit, there is a slot for each; with a high one, a hash
// table of the size of the batches, so that it stays in the processor's cache.
class Distinct {
 public:
  explicit Distinct(int32_t limit);

  // Forgets the values of the last batch.
  void Begin();

  // Sets numbers[i] to the number of offset + values[i], from 1, or to 0 if values[i] is
  // negative. A value's number is its place in `found`, to whose end new ones go; what others
  // have put there since Begin() takes numbers too.
  //
  // Throws std::out_of_range for a value at or above the limit.
  void Number(const int32_t* values, size_t count, int32_t offset, int32_t* numbers,
              Array<int32_t>* found);

 private:
  // A stamp is base_ plus a value's number; one up to base_ is from an earlier batch.
  struct Entry {
    int32_t value;
    uint32_t stamp;
  };

  void Check(const int32_t* values, size_t count, int32_t offset) const;
  void Direct(const int32_t* values, size_t count, int32_t offset, int32_t* numbers,
              int32_t* found);
  void Hashed(const int32_t* values, size_t count, int32_t offset, int32_t* numbers,
              int32_t* found);
  void Grow();

  const int32_t limit_;
  std::vector<uint32_t> direct_;  // by value: its stamp
  std::vector<Entry> table_;
  int shift_ = 0;
  uint32_t base_ = 0;
  uint32_t used_ = 0;   // the highest number since Begin()
  size_t entries_ = 0;  // in table_, since Begin()
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_DISTINCT_H_
