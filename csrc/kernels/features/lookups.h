// The rows of the banks that a batch looks up, and which lookup uses which.

#ifndef HVDREC_KERNELS_FEATURES_LOOKUPS_H_
#define HVDREC_KERNELS_FEATURES_LOOKUPS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/base/array.h"
#include "kernels/features/distinct.h"
#include "kernels/features/distinct_keys.h"
#include "kernels/features/feature.h"

namespace hvdrec {

// An id feature looked up in a table: where the ids go.
struct LookupSpec {
  int feature = 0;
  int bank = 0;
  int slot = 0;  // among the bank's slots of the feature's shape
  // The table's first row within the bank; in a dynamic bank the table's number.
  int32_t offset = 0;
};

struct BankSpec {
  int32_t rows = 0;
  int singles = 0;
  // Rows aren't known here: a batch has keys instead, whose rows a RowMap knows.
  bool dynamic = false;
};

// What hvdrec/features/layout.py describes.
struct PackedBank {
  Array<int32_t> rows;
  Array<int64_t> keys;
  Array<int32_t> tables;
  Array<int32_t> counts;
  Array<int32_t> index;
  Array<int32_t> multi_index;
  Array<int32_t> multi_segment;
  Array<float> multi_weight;
  Array<int32_t> sequence_index;
  Array<int32_t> nested_index;
  Array<int32_t> nested_segment;
  Array<float> nested_weight;
  int32_t nested_elements = 0;  // those of the slots so far
};

// Numbers a batch's rows of each bank in order of first appearance, lookup by lookup.
//
// The ids of a feature are numbered once. In a table that only one lookup uses, the bank's numbers
// are these plus an offset for what was numbered before, however many tables the feature has. Ids
// of lookups that share a table are numbered together.
class Lookups {
 public:
  // `shapes` are those of the id features.
  Lookups(std::vector<LookupSpec> lookups, std::vector<BankSpec> banks,
          std::vector<IdShape> shapes);

  // The banks of a batch of `rows` rows, with `values` by id feature.
  //
  // Throws std::out_of_range for an id that its table doesn't have.
  std::vector<PackedBank> Pack(const std::vector<IdValues>& values, int64_t rows);

 private:
  // Ids and their numbers.
  struct Numbered {
    explicit Numbered(int32_t limit) : distinct(limit) {}
    Distinct distinct;
    Array<int32_t> found;
    Array<int32_t> numbers;
  };
  // A lookup's numbers in its bank: `first` + numbers[i] for id i, 0 where numbers[i] is.
  struct Numbers {
    const int32_t* numbers;
    int32_t first;
  };

  // The keys of a dynamic bank's table.
  struct KeyedTable {
    DistinctKeys distinct;
    Array<int32_t> numbers;  // by place in `distinct`: its number in the bank, from 1
  };

  int32_t TableRows(const LookupSpec& lookup) const;
  bool Alone(const LookupSpec& lookup) const;
  Numbers NumberIds(size_t lookup, const IdValues& values, PackedBank* bank);
  Numbers NumberKeys(size_t lookup, const IdValues& values, PackedBank* bank);
  void PackSingles(int64_t rows, std::vector<PackedBank>* banks) const;

  const std::vector<LookupSpec> lookups_;
  const std::vector<BankSpec> banks_;
  const std::vector<IdShape> shapes_;
  std::vector<std::vector<size_t>> singles_;         // by bank and slot: the lookup
  std::vector<bool> alone_;                          // by lookup
  std::vector<std::unique_ptr<Numbered>> features_;  // by feature, if a lookup is alone
  std::vector<std::unique_ptr<Distinct>> shared_;    // by bank, where lookups share tables
  std::vector<Array<int32_t>> together_;             // by lookup that isn't alone: its numbers
  std::vector<std::vector<std::unique_ptr<KeyedTable>>> keyed_;  // by dynamic bank and table
  Array<int32_t> places_;                                        // scratch of NumberKeys
  std::vector<Numbers> numbers_;                                 // by lookup, of the current batch
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_LOOKUPS_H_
