// The rows of tables without a fixed size: which row of a bank an id has.

#ifndef HVDREC_KERNELS_FEATURES_ROW_MAP_H_
#define HVDREC_KERNELS_FEATURES_ROW_MAP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

// The rules of a table of a bank.
struct TableRules {
  int64_t filter_freq = 0;    // the sightings after which an id gets a row
  int64_t steps_to_live = 0;  // steps without a sighting after which it is forgotten; 0: never
  int32_t first_row = 0;      // the first of the rows with initial values
  int32_t initial_rows = 1;
};

// Ids of a table, ascending.
struct TableIds {
  Array<int64_t> keys;
  Array<int64_t> freqs;  // sightings
  Array<int64_t> steps;  // of the last sighting
  Array<int32_t> rows;   // -1 for an id without a row
};

// Ids of the tables of one bank, and their rows.
//
// The result depends only on the order of the calls, so replicas that make the same calls have the
// same rows. An id that was not seen for more than `steps_to_live` steps counts as never seen,
// whether Evict has removed it or not: the moments of Evict don't change any number.
class RowMap {
 public:
  // Ids get the rows from `first_row` on.
  RowMap(std::vector<TableRules> tables, int32_t first_row);

  // Counts sightings in a step, and gives rows to the ids that have enough; a key may be listed
  // several times.
  void See(const int32_t* tables, const int64_t* keys, const int32_t* counts, size_t count,
           int64_t step);

  // The rows of ids at a step; -1 for those without one. With `initial`, an id without a row has
  // the row of its initial value, if its table has no filter.
  void Rows(const int32_t* tables, const int64_t* keys, size_t count, int64_t step, bool initial,
            int32_t* rows) const;

  // Takes the rows that were given since the last call, and for each the row with its initial
  // value. Rows that were given up until then can be given again.
  void TakeGiven(Array<int32_t>* rows, Array<int32_t>* initial);

  // Removes ids that were not seen for too long, of which rows become free.
  void Evict(int64_t step);

  // The ids of a table that count at a step: those with a row, or those without.
  TableIds Contents(int32_t table, int64_t step, bool with_row) const;

  // Removes all ids of a table.
  void Clear(int32_t table);

  // Sets the sightings of ids, which are added if they are missing, and gives them rows if
  // `with_row`.
  void Put(int32_t table, const int64_t* keys, const int64_t* freqs, const int64_t* steps,
           size_t count, bool with_row);

  // The whole state as bytes, for a replica made with the same arguments.
  std::string Dump() const;
  // Throws std::invalid_argument if the bytes are no such state.
  void Load(std::string_view bytes);

  // All rows ever given are below this.
  int32_t end() const { return end_; }
  // The number of ids, with and without rows, including those that Evict would remove.
  size_t size() const;
  // Of the map itself.
  size_t bytes() const;

 private:
  struct Entry {
    int64_t key;
    int64_t step;
    uint32_t freq;
    int32_t row;  // kNoRow, or kEmpty for no entry
  };
  struct Table {
    TableRules rules;
    std::vector<Entry> entries;
    int shift = 0;
    size_t used = 0;
  };

  const Entry* Find(const Table& table, int64_t key) const;
  Entry* FindOrAdd(Table* table, int64_t key);
  static void Resize(Table* table, int bits);
  static void Place(Table* table, const Entry& entry);
  static bool Forgotten(const Table& table, const Entry& entry, int64_t step);
  static int32_t InitialRow(const Table& table, int64_t key);
  int32_t Give(const Table& table, int64_t key);
  Table& At(int32_t table);
  const Table& At(int32_t table) const;

  std::vector<Table> tables_;
  int32_t end_;
  std::vector<int32_t> free_;      // the last is given first
  std::vector<int32_t> given_up_;  // free after TakeGiven
  Array<int32_t> given_;
  Array<int32_t> given_initial_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_ROW_MAP_H_
