#include "kernels/features/row_map.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace hvdrec {
namespace {

constexpr int kFirstBits = 8;
constexpr int32_t kNoRow = -1;
constexpr int32_t kEmpty = -2;
constexpr uint32_t kMostFreq = std::numeric_limits<uint32_t>::max();

size_t Home(int64_t key, int shift) {
  return static_cast<size_t>(static_cast<uint64_t>(key) * uint64_t{0x9E3779B97F4A7C15} >> shift);
}

template <typename T>
void Append(const T& value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
void AppendAll(const std::vector<T>& values, std::string* bytes) {
  Append(static_cast<int64_t>(values.size()), bytes);
  bytes->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

void TakeBytes(std::string_view* bytes, void* to, size_t size) {
  if (bytes->size() < size) throw std::invalid_argument("fewer bytes than a row map has");
  if (size > 0) std::memcpy(to, bytes->data(), size);
  bytes->remove_prefix(size);
}

template <typename T>
void Take(std::string_view* bytes, T* value) {
  TakeBytes(bytes, value, sizeof(T));
}

template <typename T>
void TakeAll(std::string_view* bytes, std::vector<T>* values) {
  int64_t size = 0;
  Take(bytes, &size);
  values->resize(static_cast<size_t>(size));
  TakeBytes(bytes, values->data(), values->size() * sizeof(T));
}

}  // namespace

RowMap::RowMap(std::vector<TableRules> tables, int32_t first_row) : end_(first_row) {
  for (TableRules& rules : tables) {
    if (rules.initial_rows < 1) throw std::invalid_argument("a table has no initial values");
    Table table;
    table.rules = rules;
    Resize(&table, kFirstBits);
    tables_.push_back(std::move(table));
  }
}

RowMap::Table& RowMap::At(int32_t table) { return tables_.at(static_cast<size_t>(table)); }

const RowMap::Table& RowMap::At(int32_t table) const {
  return tables_.at(static_cast<size_t>(table));
}

void RowMap::See(const int32_t* tables, const int64_t* keys, const int32_t* counts, size_t count,
                 int64_t step) {
  for (size_t i = 0; i < count; ++i) {
    Table& table = At(tables[i]);
    Entry* const entry = FindOrAdd(&table, keys[i]);
    if (Forgotten(table, *entry, step)) {
      // Earlier steps of the same call may still use the row.
      if (entry->row >= 0) given_up_.push_back(entry->row);
      *entry = {keys[i], step, 0, kNoRow};
    }
    entry->step = step;
    entry->freq += std::min(static_cast<uint32_t>(counts[i]), kMostFreq - entry->freq);
    if (entry->row == kNoRow && int64_t{entry->freq} >= table.rules.filter_freq) {
      entry->row = Give(table, keys[i]);
    }
  }
}

void RowMap::Rows(const int32_t* tables, const int64_t* keys, size_t count, int64_t step,
                  bool initial, int32_t* rows) const {
  for (size_t i = 0; i < count; ++i) {
    const Table& table = At(tables[i]);
    const Entry* const entry = Find(table, keys[i]);
    const bool known = entry != nullptr && !Forgotten(table, *entry, step);
    rows[i] = known ? entry->row : kNoRow;
    if (initial && rows[i] == kNoRow && table.rules.filter_freq == 0) {
      rows[i] = InitialRow(table, keys[i]);
    }
  }
}

void RowMap::TakeGiven(Array<int32_t>* rows, Array<int32_t>* initial) {
  *rows = std::move(given_);
  *initial = std::move(given_initial_);
  given_.clear();
  given_initial_.clear();
  free_.insert(free_.end(), given_up_.begin(), given_up_.end());
  given_up_.clear();
}

void RowMap::Evict(int64_t step) {
  for (Table& table : tables_) {
    if (table.rules.steps_to_live == 0) continue;
    std::vector<Entry> kept;
    kept.reserve(table.used);
    for (const Entry& entry : table.entries) {
      if (entry.row == kEmpty) continue;
      if (!Forgotten(table, entry, step)) {
        kept.push_back(entry);
      } else if (entry.row >= 0) {
        free_.push_back(entry.row);
      }
    }
    if (kept.size() == table.used) continue;
    int bits = kFirstBits;
    while ((size_t{1} << bits) < kept.size() * 2) ++bits;
    table.entries.clear();
    Resize(&table, bits);
    for (const Entry& entry : kept) Place(&table, entry);
    table.used = kept.size();
  }
}

TableIds RowMap::Contents(int32_t table, int64_t step, bool with_row) const {
  const Table& from = At(table);
  std::vector<const Entry*> found;
  for (const Entry& entry : from.entries) {
    if (entry.row == kEmpty || (entry.row >= 0) != with_row) continue;
    if (!Forgotten(from, entry, step)) found.push_back(&entry);
  }
  std::sort(found.begin(), found.end(),
            [](const Entry* a, const Entry* b) { return a->key < b->key; });
  TableIds ids;
  for (const Entry* entry : found) {
    ids.keys.push_back(entry->key);
    ids.freqs.push_back(entry->freq);
    ids.steps.push_back(entry->step);
    ids.rows.push_back(entry->row);
  }
  return ids;
}

void RowMap::Clear(int32_t table) {
  Table& from = At(table);
  for (const Entry& entry : from.entries) {
    if (entry.row >= 0) free_.push_back(entry.row);
  }
  from.entries.clear();
  from.used = 0;
  Resize(&from, kFirstBits);
}

void RowMap::Put(int32_t table, const int64_t* keys, const int64_t* freqs, const int64_t* steps,
                 size_t count, bool with_row) {
  Table& to = At(table);
  for (size_t i = 0; i < count; ++i) {
    Entry* const entry = FindOrAdd(&to, keys[i]);
    const int64_t freq = std::clamp(freqs[i], int64_t{0}, int64_t{kMostFreq});
    entry->freq = static_cast<uint32_t>(freq);
    entry->step = steps[i];
    if (with_row && entry->row == kNoRow) entry->row = Give(to, keys[i]);
  }
}

std::string RowMap::Dump() const {
  std::string bytes;
  Append(int64_t{end_}, &bytes);
  AppendAll(free_, &bytes);
  AppendAll(given_up_, &bytes);
  for (const Table& table : tables_) {
    Append(static_cast<int64_t>(table.shift), &bytes);
    Append(static_cast<int64_t>(table.used), &bytes);
    AppendAll(table.entries, &bytes);
  }
  return bytes;
}

void RowMap::Load(std::string_view bytes) {
  int64_t end = 0;
  Take(&bytes, &end);
  TakeAll(&bytes, &free_);
  TakeAll(&bytes, &given_up_);
  for (Table& table : tables_) {
    int64_t shift = 0, used = 0;
    Take(&bytes, &shift);
    Take(&bytes, &used);
    TakeAll(&bytes, &table.entries);
    table.shift = static_cast<int>(shift);
    table.used = static_cast<size_t>(used);
  }
  if (!bytes.empty()) throw std::invalid_argument("more bytes than a row map has");
  end_ = static_cast<int32_t>(end);
  given_.clear();
  given_initial_.clear();
}

size_t RowMap::size() const {
  size_t all = 0;
  for (const Table& table : tables_) all += table.used;
  return all;
}

size_t RowMap::bytes() const {
  size_t all = (free_.capacity() + given_up_.capacity()) * sizeof(int32_t);
  for (const Table& table : tables_) all += table.entries.capacity() * sizeof(Entry);
  return all;
}

const RowMap::Entry* RowMap::Find(const Table& table, int64_t key) const {
  const size_t last = table.entries.size() - 1;
  for (size_t at = Home(key, table.shift);; at = (at + 1) & last) {
    const Entry& entry = table.entries[at];
    if (entry.row == kEmpty) return nullptr;
    if (entry.key == key) return &entry;
  }
}

RowMap::Entry* RowMap::FindOrAdd(Table* table, int64_t key) {
  if ((table->used + 1) * 4 > table->entries.size() * 3) Resize(table, 64 - table->shift + 1);
  const size_t last = table->entries.size() - 1;
  for (size_t at = Home(key, table->shift);; at = (at + 1) & last) {
    Entry& entry = table->entries[at];
    if (entry.row == kEmpty) {
      // A step that no sighting can be forgotten from.
      entry = {key, std::numeric_limits<int64_t>::max(), 0, kNoRow};
      ++table->used;
      return &entry;
    }
    if (entry.key == key) return &entry;
  }
}

void RowMap::Resize(Table* table, int bits) {
  std::vector<Entry> old(size_t{1} << bits, Entry{0, 0, 0, kEmpty});
  old.swap(table->entries);
  table->shift = 64 - bits;
  for (const Entry& entry : old) {
    if (entry.row != kEmpty) Place(table, entry);
  }
}

void RowMap::Place(Table* table, const Entry& entry) {
  const size_t last = table->entries.size() - 1;
  size_t at = Home(entry.key, table->shift);
  while (table->entries[at].row != kEmpty) at = (at + 1) & last;
  table->entries[at] = entry;
}

bool RowMap::Forgotten(const Table& table, const Entry& entry, int64_t step) {
  const int64_t live = table.rules.steps_to_live;
  return live > 0 && step > entry.step && step - entry.step > live;
}

int32_t RowMap::InitialRow(const Table& table, int64_t key) {
  const auto count = static_cast<uint64_t>(table.rules.initial_rows);
  return table.rules.first_row + static_cast<int32_t>(static_cast<uint64_t>(key) % count);
}

int32_t RowMap::Give(const Table& table, int64_t key) {
  int32_t row;
  if (!free_.empty()) {
    row = free_.back();
    free_.pop_back();
  } else if (end_ < std::numeric_limits<int32_t>::max()) {
    row = end_++;
  } else {
    throw std::length_error("a bank can't have more than " + std::to_string(end_) + " rows");
  }
  given_.push_back(row);
  given_initial_.push_back(InitialRow(table, key));
  return row;
}

}  // namespace hvdrec
