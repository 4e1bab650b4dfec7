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

struct Place {
  uint64_t number;    // below the limit
  uint64_t fraction;  // of 2^64
};

// A random number below `limit`, and what is left of the random bits.
Place Below(uint64_t limit, uint64_t random) {
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

std::vector<float> Uniform(size_t count) { return std::vector<float>(count, 1.0F); }

}  // namespace

AliasTable::AliasTable(const std::vector<float>& weights) {
  const size_t count = weights.size();
  if (count >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw std::invalid_argument("more than 2^31 - 2 items");
  }
  double total = 0;
  bool all = true;
  for (size_t i = 0; i < count; ++i) {
    if (!(weights[i] >= 0) || !std::isfinite(weights[i])) {
      throw std::invalid_argument("weight " + std::to_string(i) + " is negative or not finite");
    }
    total += weights[i];
    all = all && weights[i] > 0;
  }
  if (!(total > 0)) throw std::invalid_argument("no weight is above 0");
  if (!all) {
    never_.resize(count);
    for (size_t i = 0; i < count; ++i) never_[i] = weights[i] == 0;
  }
  entries_.resize(count);
  // The remaining probability of each number, in units of the mean weight.
  std::vector<double> share(count);
  std::vector<int32_t> small, large;
  for (size_t i = 0; i < count; ++i) {
    share[i] = static_cast<double>(weights[i]) / total * static_cast<double>(count);
    (share[i] < 1 ? small : large).push_back(static_cast<int32_t>(i));
  }
  while (!small.empty() && !large.empty()) {
    const int32_t low = small.back(), high = large.back();
    small.pop_back();
    const double threshold = share[static_cast<size_t>(low)] * 4294967296.0;
    entries_[static_cast<size_t>(low)] = {static_cast<uint32_t>(std::min(threshold, 4294967295.0)),
                                          high};
    double& left = share[static_cast<size_t>(high)];
    left -= 1 - share[static_cast<size_t>(low)];
    if (left < 1) {
      large.pop_back();
      small.push_back(high);
    }
  }
  // The remaining numbers have their whole share, except for rounding; a weight of 0 never remains.
  int32_t any = 0;
  while (never_.size() > 0 && never_[static_cast<size_t>(any)]) ++any;
  for (const auto* rest : {&small, &large}) {
    for (const int32_t number : *rest) {
      const bool never = !never_.empty() && never_[static_cast<size_t>(number)];
      entries_[static_cast<size_t>(number)] = {never ? 0 : std::numeric_limits<uint32_t>::max(),
                                               never ? any : number};
    }
  }
}

int64_t AliasTable::Draw(RandomStream* random) const {
  const Place place = Below(entries_.size(), random->Next());
  const Entry& entry = entries_[place.number];
  return (place.fraction >> 32) < entry.threshold ? static_cast<int64_t>(place.number)
                                                  : entry.alias;
}

bool AliasTable::CanBeDrawn(int64_t number) const {
  return never_.empty() || !never_[static_cast<size_t>(number)];
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

ItemSampler::ItemSampler(std::vector<int64_t> ids, const std::vector<float>& weights)
    : ids_(std::move(ids)), table_(weights.empty() ? Uniform(ids_.size()) : weights) {
  if (table_.size() != size()) throw std::invalid_argument("ids and weights differ in length");
}

template <typename IsExcluded>
int32_t ItemSampler::DrawOne(const IsExcluded& is_excluded, RandomStream random) const {
  int64_t drawn = 0;
  for (int i = 0; i < kMostTries; ++i) {
    drawn = table_.Draw(&random);
    if (!is_excluded(ids_[static_cast<size_t>(drawn)])) return static_cast<int32_t>(drawn);
  }
  // The first one after the last one drawn that may be taken.
  for (int64_t step = 1; step < size(); ++step) {
    const int64_t place = (drawn + step) % size();
    if (table_.CanBeDrawn(place) && !is_excluded(ids_[static_cast<size_t>(place)])) {
      return static_cast<int32_t>(place);
    }
  }
  return static_cast<int32_t>(drawn);
}

void ItemSampler::DrawByWeight(const int64_t* excluded, size_t excluded_count, uint64_t seed,
                               int64_t count, int32_t* places) const {
  const IdSet set(excluded, excluded_count);
  const auto is_excluded = [&](int64_t id) { return set.Has(id); };
  for (int64_t k = 0; k < count; ++k) {
    places[k] = DrawOne(is_excluded, RandomStream(seed, static_cast<uint64_t>(k)));
  }
}

void ItemSampler::DrawForUsers(const UserItems& items, const int64_t* users, int64_t per_user,
                               uint64_t seed, int64_t count, int32_t* places) const {
  for (int64_t k = 0; k < count; ++k) {
    const int64_t user = users[k / per_user];
    places[k] = DrawOne([&](int64_t id) { return items.Has(user, id); },
                        RandomStream(seed, static_cast<uint64_t>(k)));
  }
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
    const int64_t other = k + static_cast<int64_t>(Below(left, random.Next()).number);
    const int64_t drawn = at(other);
    moved[other] = at(k);
    if (!set.Has(ids_[static_cast<size_t>(drawn)])) places[kept++] = static_cast<int32_t>(drawn);
  }
  return kept;
}

}  // namespace hvdrec
