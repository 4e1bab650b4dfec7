#include "kernels/features/lookups.h"

#include <algorithm>
#include <utility>

namespace hvdrec {
namespace {

// Rows of `index` that are filled at once, so that they stay in the first-level cache.
constexpr int64_t kBlock = 64;

// Adds `first` to numbers that aren't 0.
void Shift(const int32_t* __restrict numbers, size_t count, int32_t first,
           int32_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) out[i] = numbers[i] == 0 ? 0 : numbers[i] + first;
}

// A part of an array, appended; the caller fills it.
template <typename T>
T* Extend(Array<T>* array, size_t count) {
  const size_t before = array->size();
  array->resize(before + count);
  return array->data() + before;
}

template <typename T>
void Append(const Array<T>& from, Array<T>* to) {
  std::copy(from.begin(), from.end(), Extend(to, from.size()));
}

// For each value the number of its part, from `first`; part i ends at ends[i]. Returns the number
// after the last part's.
int32_t Segments(const Array<int64_t>& ends, int32_t first, int32_t* out) {
  int64_t begin = 0;
  for (const int64_t end : ends) {
    std::fill(out + begin, out + end, first);
    begin = end;
    ++first;
  }
  return first;
}

}  // namespace

Lookups::Lookups(std::vector<LookupSpec> lookups, std::vector<BankSpec> banks,
                 std::vector<IdShape> shapes)
    : lookups_(std::move(lookups)),
      banks_(std::move(banks)),
      shapes_(std::move(shapes)),
      singles_(banks_.size()),
      features_(shapes_.size()),
      shared_(banks_.size()),
      together_(lookups_.size()),
      keyed_(banks_.size()),
      numbers_(lookups_.size()) {
  for (size_t b = 0; b < banks_.size(); ++b) {
    singles_[b].resize(static_cast<size_t>(banks_[b].singles));
  }
  std::vector<int32_t> limits(shapes_.size());
  for (size_t i = 0; i < lookups_.size(); ++i) {
    const LookupSpec& lookup = lookups_[i];
    if (shapes_[lookup.feature] == IdShape::kSingle) singles_[lookup.bank][lookup.slot] = i;
    if (banks_[lookup.bank].dynamic) {
      alone_.push_back(false);
      auto& tables = keyed_[lookup.bank];
      const auto needed = static_cast<size_t>(lookup.offset) + 1;
      while (tables.size() < needed) tables.push_back(std::make_unique<KeyedTable>());
      continue;
    }
    alone_.push_back(Alone(lookup));
    if (alone_.back()) {
      // Tables of one feature have the same number of rows.
      limits[lookup.feature] = std::max(limits[lookup.feature], TableRows(lookup));
    } else if (shared_[lookup.bank] == nullptr) {
      shared_[lookup.bank] = std::make_unique<Distinct>(banks_[lookup.bank].rows);
    }
  }
  for (size_t i = 0; i < lookups_.size(); ++i) {
    std::unique_ptr<Numbered>& feature = features_[lookups_[i].feature];
    if (alone_[i] && feature == nullptr) {
      feature = std::make_unique<Numbered>(limits[lookups_[i].feature]);
    }
  }
}

bool Lookups::Alone(const LookupSpec& lookup) const {
  return std::count_if(lookups_.begin(), lookups_.end(), [&](const LookupSpec& other) {
           return other.bank == lookup.bank && other.offset == lookup.offset;
         }) == 1;
}

int32_t Lookups::TableRows(const LookupSpec& lookup) const {
  int32_t end = banks_[lookup.bank].rows;
  for (const LookupSpec& other : lookups_) {
    if (other.bank == lookup.bank && other.offset > lookup.offset) {
      end = std::min(end, other.offset);
    }
  }
  return end - lookup.offset;
}

Lookups::Numbers Lookups::NumberIds(size_t lookup, const IdValues& values, PackedBank* bank) {
  if (banks_[lookups_[lookup].bank].dynamic) return NumberKeys(lookup, values, bank);
  const int32_t offset = lookups_[lookup].offset;
  if (!alone_[lookup]) {
    Array<int32_t>& numbers = together_[lookup];
    numbers.resize(values.ids.size());
    Array<int32_t>* const found = &bank->rows;
    shared_[lookups_[lookup].bank]->Number(values.ids.data(), values.ids.size(), offset,
                                           numbers.data(), found);
    return {numbers.data(), 0};
  }
  const Numbered& feature = *features_[lookups_[lookup].feature];
  const auto first = static_cast<int32_t>(bank->rows.size());
  const size_t count = feature.found.size();
  int32_t* const rows = Extend(&bank->rows, count);
  for (size_t i = 0; i < count; ++i) rows[i] = offset + feature.found[i];
  return {feature.numbers.data(), first};
}

Lookups::Numbers Lookups::NumberKeys(size_t lookup, const IdValues& values, PackedBank* bank) {
  const int32_t number = lookups_[lookup].offset;
  KeyedTable& table = *keyed_[lookups_[lookup].bank][static_cast<size_t>(number)];
  const auto number_of = [&](int64_t key) {
    const auto place = static_cast<size_t>(table.distinct.Number(key));
    if (place == table.numbers.size()) {
      bank->keys.push_back(key);
      bank->tables.push_back(number);
      bank->counts.push_back(0);
      table.numbers.push_back(static_cast<int32_t>(bank->keys.size()));
    }
    return table.numbers[place];
  };
  // The numbers of an open feature's keys are found once, by key.
  if (values.keys != nullptr) places_.assign(values.keys->size(), 0);
  Array<int32_t>& numbers = together_[lookup];
  numbers.resize(values.ids.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    const int32_t id = values.ids[i];
    if (id < 0) {
      numbers[i] = 0;
      continue;
    }
    if (values.keys == nullptr) {
      numbers[i] = number_of(id);
    } else {
      int32_t& place = places_[static_cast<size_t>(id)];
      if (place == 0) place = number_of((*values.keys)[static_cast<size_t>(id)]);
      numbers[i] = place;
    }
    ++bank->counts[static_cast<size_t>(numbers[i] - 1)];
  }
  return {numbers.data(), 0};
}

std::vector<PackedBank> Lookups::Pack(const std::vector<IdValues>& values, int64_t rows) {
  std::vector<PackedBank> banks(banks_.size());
  for (const auto& shared : shared_) {
    if (shared != nullptr) shared->Begin();
  }
  for (const auto& tables : keyed_) {
    for (const auto& table : tables) {
      table->distinct.Begin();
      table->numbers.clear();
    }
  }
  for (size_t f = 0; f < features_.size(); ++f) {
    if (features_[f] == nullptr) continue;
    Numbered& feature = *features_[f];
    const Array<int32_t>& ids = values[f].ids;
    feature.distinct.Begin();
    feature.found.clear();
    feature.numbers.resize(ids.size());
    feature.distinct.Number(ids.data(), ids.size(), 0, feature.numbers.data(), &feature.found);
  }
  for (size_t i = 0; i < lookups_.size(); ++i) {
    const LookupSpec& lookup = lookups_[i];
    const IdValues& of = values[lookup.feature];
    PackedBank& bank = banks[lookup.bank];
    numbers_[i] = NumberIds(i, of, &bank);
    const size_t count = of.ids.size();
    const auto put = [&](Array<int32_t>* index) {
      Shift(numbers_[i].numbers, count, numbers_[i].first, Extend(index, count));
    };
    switch (shapes_[lookup.feature]) {
      case IdShape::kSingle:
        break;
      case IdShape::kPooled:
        put(&bank.multi_index);
        Append(of.weights, &bank.multi_weight);
        Segments(of.ends, static_cast<int32_t>(lookup.slot * rows),
                 Extend(&bank.multi_segment, count));
        break;
      case IdShape::kSequence:
        put(&bank.sequence_index);
        break;
      case IdShape::kNested:
        put(&bank.nested_index);
        Append(of.weights, &bank.nested_weight);
        bank.nested_elements =
            Segments(of.element_ends, bank.nested_elements, Extend(&bank.nested_segment, count));
    }
  }
  PackSingles(rows, &banks);
  return banks;
}

void Lookups::PackSingles(int64_t rows, std::vector<PackedBank>* banks) const {
  for (size_t b = 0; b < banks->size(); ++b) {
    const auto stride = static_cast<int64_t>(singles_[b].size());
    int32_t* const index = Extend(&(*banks)[b].index, static_cast<size_t>(rows * stride));
    for (int64_t begin = 0; begin < rows; begin += kBlock) {
      const int64_t end = std::min(rows, begin + kBlock);
      for (int64_t slot = 0; slot < stride; ++slot) {
        const Numbers from = numbers_[singles_[b][static_cast<size_t>(slot)]];
        for (int64_t row = begin; row < end; ++row) {
          const int32_t number = from.numbers[row];
          index[row * stride + slot] = number == 0 ? 0 : from.first + number;
        }
      }
    }
  }
}

}  // namespace hvdrec
