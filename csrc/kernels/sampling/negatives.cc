#include "kernels/sampling/negatives.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace hvdrec {
namespace {

// After this many unsuccessful draws, hardly anything can be left to draw.
constexpr int kMostTries = 64;
// Draws whose memory is fetched at the same time.
constexpr int64_t kBlock = 64;

// A random number below `limit`, and what is left of the random bits, of 2^64.
std::pair<uint64_t, uint64_t> Below(uint64_t limit, uint64_t random) {
  const unsigned __int128 product = static_cast<unsigned __int128>(random) * limit;
  return {static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product)};
}

// A set of ids that is queried often and built once per batch.
class IdSet {
 public:
  IdSet(const int64_t* ids, size_t count) : slots_(size_t{16}) {
    size_t wanted = 16;
    while (wanted < 2 * count) wanted *= 2;
    slots_.resize(wanted);
    for (size_t i = 0; i < count; ++i) {
      size_t at = Home(ids[i]);
      while (slots_[at].used && slots_[at].id != ids[i]) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = {ids[i], true};
    }
  }

  bool Has(int64_t id) const {
    for (size_t at = Home(id); slots_[at].used; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].id == id) return true;
    }
    return false;
  }

 private:
  struct Slot {
    int64_t id = 0;
    bool used = false;
  };

  size_t Home(int64_t id) const {
    return static_cast<size_t>((static_cast<uint64_t>(id) * UINT64_C(0x9E3779B97F4A7C15)) >> 20) &
           (slots_.size() - 1);
  }

  std::vector<Slot> slots_;
};

}  // namespace

void FillAliasTable(const float* weights, size_t count, AliasEntry* entries) {
  if (count >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw std::invalid_argument("more than 2^31 - 2 items");
  }
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!(weights[i] >= 0) || !std::isfinite(weights[i])) {
      throw std::invalid_argument("weight " + std::to_string(i) + " is negative or not finite");
    }
    total += weights[i];
  }
  if (!(total > 0)) throw std::invalid_argument("no weight is above 0");
  // The remaining probability of each number, in units of the mean weight.
  std::vector<double> share(count);
  // One stack from each end: numbers with less than the mean, and the others.
  std::vector<int32_t> stacks(count);
  size_t small = 0, large = count;
  for (size_t i = 0; i < count; ++i) {
    share[i] = static_cast<double>(weights[i]) / total * static_cast<double>(count);
    stacks[share[i] < 1 ? small++ : --large] = static_cast<int32_t>(i);
  }
  while (small > 0 && large < count) {
    const auto low = static_cast<size_t>(stacks[--small]);
    const auto high = static_cast<size_t>(stacks[large]);
    const double threshold = std::min(share[low] * 4294967296.0, 4294967295.0);
    // Only a weight of 0 has a threshold of 0.
    const auto least = static_cast<uint32_t>(weights[low] > 0);
    entries[low] = {std::max(static_cast<uint32_t>(threshold), least), static_cast<int32_t>(high)};
    share[high] -= 1 - share[low];
    if (share[high] < 1) {
      ++large;
      stacks[small++] = static_cast<int32_t>(high);
    }
  }
  // The remaining numbers have their whole share, except for rounding; a weight of 0 never remains.
  size_t any = 0;
  while (!(weights[any] > 0)) ++any;
  const auto finish = [&](size_t first, size_t last) {
    for (size_t p = first; p < last; ++p) {
      const int32_t number = stacks[p];
      const bool never = !(weights[number] > 0);
      entries[number] = {never ? 0 : std::numeric_limits<uint32_t>::max(),
                         never ? static_cast<int32_t>(any) : number};
    }
  };
  finish(0, small);
  finish(large, count);
}

UserItems::UserItems(const int64_t* users, const int64_t* items, size_t edges) {
  std::vector<size_t> order(edges);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return users[a] < users[b]; });
  items_.reserve(edges);
  for (const size_t edge : order) {
    if (users_.empty() || users_.back() != users[edge]) {
      users_.push_back(users[edge]);
      starts_.push_back(items_.size());
    }
    items_.push_back(items[edge]);
  }
  starts_.push_back(items_.size());
  ordered_ = items_;
  for (size_t u = 0; u + 1 < starts_.size(); ++u) {
    std::sort(ordered_.begin() + static_cast<std::ptrdiff_t>(starts_[u]),
              ordered_.begin() + static_cast<std::ptrdiff_t>(starts_[u + 1]));
  }
}

std::pair<const int64_t*, const int64_t*> UserItems::Of(int64_t user) const {
  const auto found = std::lower_bound(users_.begin(), users_.end(), user);
  if (found == users_.end() || *found != user) return {nullptr, nullptr};
  const auto u = static_cast<size_t>(found - users_.begin());
  return {items_.data() + starts_[u], items_.data() + starts_[u + 1]};
}

bool UserItems::Has(int64_t user, int64_t item) const {
  const auto found = std::lower_bound(users_.begin(), users_.end(), user);
  if (found == users_.end() || *found != user) return false;
  const auto u = static_cast<size_t>(found - users_.begin());
  return std::binary_search(ordered_.begin() + static_cast<std::ptrdiff_t>(starts_[u]),
                            ordered_.begin() + static_cast<std::ptrdiff_t>(starts_[u + 1]), item);
}

ItemSampler::ItemSampler(const int64_t* ids, const AliasEntry* entries, int64_t items)
    : ids_(ids), entries_(entries), items_(items) {}

ItemSampler::Place ItemSampler::At(RandomStream* random) const {
  const auto [number, fraction] = Below(static_cast<uint64_t>(items_), random->Next());
  return {static_cast<int64_t>(number), fraction};
}

int64_t ItemSampler::Drawn(const Place& place) const {
  if (entries_ == nullptr) return place.number;
  const AliasEntry& entry = entries_[place.number];
  return (place.fraction >> 32) < entry.threshold ? place.number : entry.alias;
}

bool ItemSampler::CanBeDrawn(int64_t number) const {
  return entries_ == nullptr || entries_[number].threshold > 0;
}

template <typename IsExcluded>
int32_t ItemSampler::DrawAgain(int64_t drawn, const IsExcluded& is_excluded,
                               RandomStream random) const {
  for (int i = 1; i < kMostTries; ++i) {
    drawn = Drawn(At(&random));
    if (!is_excluded(ids_[drawn])) return static_cast<int32_t>(drawn);
  }
  // The first one after the last one drawn that may be taken.
  for (int64_t step = 1; step < size(); ++step) {
    const int64_t place = (drawn + step) % size();
    if (CanBeDrawn(place) && !is_excluded(ids_[place])) return static_cast<int32_t>(place);
  }
  return static_cast<int32_t>(drawn);
}

// In blocks, so that the memory of many draws is fetched at the same time: a large table isn't in
// the caches.
template <typename IsExcluded>
void ItemSampler::DrawAll(const IsExcluded& is_excluded, uint64_t seed, int64_t count,
                          int32_t* places) const {
  Place drawn[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t block = std::min(kBlock, count - begin);
    for (int64_t k = 0; k < block; ++k) {
      RandomStream random(seed, static_cast<uint64_t>(begin + k));
      drawn[k] = At(&random);
      if (entries_ != nullptr) __builtin_prefetch(entries_ + drawn[k].number);
    }
    for (int64_t k = 0; k < block; ++k) {
      drawn[k].number = Drawn(drawn[k]);
      __builtin_prefetch(ids_ + drawn[k].number);
    }
    for (int64_t k = 0; k < block; ++k) {
      const int64_t number = drawn[k].number, draw = begin + k;
      const auto is_out = [&](int64_t id) { return is_excluded(draw, id); };
      places[draw] = static_cast<int32_t>(number);
      if (!is_out(ids_[number])) continue;
      RandomStream random(seed, static_cast<uint64_t>(draw));
      random.Next();
      places[draw] = DrawAgain(number, is_out, random);
    }
  }
}

void ItemSampler::DrawByWeight(const int64_t* excluded, size_t excluded_count, uint64_t seed,
                               int64_t count, int32_t* places) const {
  const IdSet set(excluded, excluded_count);
  DrawAll([&](int64_t, int64_t id) { return set.Has(id); }, seed, count, places);
}

void ItemSampler::DrawForUsers(const UserItems& items, const int64_t* users, int64_t per_user,
                               uint64_t seed, int64_t count, int32_t* places) const {
  DrawAll([&](int64_t k, int64_t id) { return items.Has(users[k / per_user], id); }, seed, count,
          places);
}

int64_t ItemSampler::DrawDistinct(const int64_t* excluded, size_t excluded_count, uint64_t seed,
                                  int64_t count, int64_t margin, int32_t* places) const {
  if (size() < count + margin) {
    throw std::invalid_argument("has " + std::to_string(size()) + " items, fewer than the " +
                                std::to_string(count + margin) + " that are drawn at once");
  }
  const IdSet set(excluded, excluded_count);
  RandomStream random(seed, 0);
  // The first steps of a shuffle of all indices; only those that were moved are stored.
  std::unordered_map<int64_t, int64_t> moved;
  const auto at = [&](int64_t place) {
    const auto found = moved.find(place);
    return found == moved.end() ? place : found->second;
  };
  int64_t kept = 0;
  for (int64_t k = 0; k < count + margin && kept < count; ++k) {
    const auto left = static_cast<uint64_t>(size() - k);
    const int64_t other = k + static_cast<int64_t>(Below(left, random.Next()).first);
    const int64_t drawn = at(other);
    moved[other] = at(k);
    if (!set.Has(ids_[static_cast<size_t>(drawn)])) places[kept++] = static_cast<int32_t>(drawn);
  }
  return kept;
}

}  // namespace hvdrec
