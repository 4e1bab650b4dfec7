// Draws of negative items for matching models: by weight, without the items of a batch or of a
// user.
//
// The draws are a function of the seed and the arguments only.

#ifndef HVDREC_KERNELS_SAMPLING_NEGATIVES_H_
#define HVDREC_KERNELS_SAMPLING_NEGATIVES_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace hvdrec {

// SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014): one stream of
// numbers for each seed and stream number.
class RandomStream {
 public:
  RandomStream(uint64_t seed, uint64_t stream)
      : state_(Mix(seed ^ Mix(stream + UINT64_C(0x9E3779B97F4A7C15)))) {}

  uint64_t Next() {
    state_ += UINT64_C(0x9E3779B97F4A7C15);
    return Mix(state_);
  }

 private:
  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

// An entry of an alias table.
struct AliasEntry {
  uint32_t threshold;  // of 2^32: below it the number itself is drawn, otherwise its alias
  int32_t alias;
};

// Fills the table for drawing numbers 0..n-1 with probabilities proportional to weights, in
// constant time: Walker's alias method, with tables built as by Vose (IEEE Transactions on Software
// Engineering, 1991). 8 bytes per number; 16 more while it is filled. A threshold of 0 means a
// weight of 0.
//
// Throws std::invalid_argument unless all weights are finite, none is negative and one is above 0.
void FillAliasTable(const float* weights, size_t count, AliasEntry* entries);

// For each user some items, in the order of the edges.
class UserItems {
 public:
  UserItems(const int64_t* users, const int64_t* items, size_t edges);

  // Begin and end of a user's items; equal if there are none.
  std::pair<const int64_t*, const int64_t*> Of(int64_t user) const;
  // Whether `item` is one of the user's.
  bool Has(int64_t user, int64_t item) const;

 private:
  std::vector<int64_t> users_;    // ascending
  std::vector<size_t> starts_;    // by user, one more
  std::vector<int64_t> items_;    // user by user, in the order of the edges
  std::vector<int64_t> ordered_;  // user by user, ascending
};

// The items of a table, to draw from. Holds nothing itself: the arrays can be files that several
// processes map.
class ItemSampler {
 public:
  // `ids` [items] with their alias table; null if all weights are equal.
  ItemSampler(const int64_t* ids, const AliasEntry* entries, int64_t items);

  int64_t size() const { return items_; }

  // `count` rows of the table, drawn by weight with replacement; their ids aren't among
  // `excluded`. If every item that can be drawn is excluded, none is.
  void DrawByWeight(const int64_t* excluded, size_t excluded_count, uint64_t seed, int64_t count,
                    int32_t* places) const;

  // The same for each of several users: draw k is for users[k / per_user] and isn't one of that
  // user's items.
  void DrawForUsers(const UserItems& items, const int64_t* users, int64_t per_user, uint64_t seed,
                    int64_t count, int32_t* places) const;

  // At most `count` distinct rows, each set of them equally likely, whose ids aren't among
  // `excluded`: the first suitable ones of count + margin rows drawn without replacement. Returns
  // how many there are. Throws std::invalid_argument if the table has fewer than count + margin
  // items.
  int64_t DrawDistinct(const int64_t* excluded, size_t excluded_count, uint64_t seed, int64_t count,
                       int64_t margin, int32_t* places) const;

 private:
  // A random number below the number of items, and what is left of the random bits.
  struct Place {
    int64_t number;
    uint64_t fraction;  // of 2^64
  };

  Place At(RandomStream* random) const;
  int64_t Drawn(const Place& place) const;
  bool CanBeDrawn(int64_t number) const;
  template <typename IsExcluded>
  int32_t DrawAgain(int64_t drawn, const IsExcluded& is_excluded, RandomStream random) const;
  template <typename IsExcluded>
  void DrawAll(const IsExcluded& is_excluded, uint64_t seed, int64_t count, int32_t* places) const;

  const int64_t* ids_;
  const AliasEntry* entries_;
  int64_t items_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SAMPLING_NEGATIVES_H_
