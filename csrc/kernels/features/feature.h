// Feature transforms: how a feature is computed from its cells.
//
// A new feature type is a file with a class below one of the three bases and a line in packer.cc.

#ifndef HVDREC_KERNELS_FEATURES_FEATURE_H_
#define HVDREC_KERNELS_FEATURES_FEATURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/base/array.h"
#include "kernels/features/distinct_keys.h"
#include "kernels/features/fingerprint.h"
#include "kernels/features/modulo.h"
#include "kernels/rows/arrow_cells.h"

namespace hvdrec {

// How the numbers of a cell are combined.
enum class Pool { kNone, kSum, kMean, kMin, kMax };

// The description of a feature; each type reads the members it needs.
// hvdrec/features/packer_spec.py documents them.
struct FeatureSpec {
  std::string type;
  std::vector<int> inputs;  // fields
  uint64_t hash_buckets = 0;
  uint64_t num_buckets = 0;
  bool open = false;
  std::shared_ptr<DistinctKeys> keys;  // of the packer's, if `open`
  std::vector<std::string> vocabulary;
  int precision = -1;
  std::string separator;
  std::string inner_separator;
  std::string kv_separator;
  bool positive_weights = false;
  int dim = 1;
  double low = 0.0;
  double high = 0.0;
  std::string normalizer;
  Pool pool = Pool::kNone;
  std::vector<float> boundaries;
  std::string join_separator;
  std::vector<std::string> input_separators;
  int most = 0;
  int length = 0;
  std::string expression;
  std::vector<std::pair<std::string, double>> steps;  // names and values
};

// The form of a row of an id feature.
enum class IdShape {
  kSingle,    // one id, or none
  kPooled,    // several ids with weights
  kSequence,  // a sequence of ids
  kNested,    // a sequence of elements, each with several ids with weights
};

// The ids of a batch.
//
// kSingle: one id per row, -1 for none. kPooled, kSequence: the ids of row i are
// [ends[i - 1], ends[i]). kNested: the elements of row i are [ends[i - 1], ends[i]), and the ids of
// element e are [element_ends[e - 1], element_ends[e]).
//
// An open feature has 64-bit keys: an id is the number of its key in `keys`.
struct IdValues {
  Array<int32_t> ids;
  const Array<int64_t>* keys = nullptr;
  Array<int64_t> ends;
  Array<float> weights;
  Array<int64_t> element_ends;

  void Clear() {
    ids.clear();
    ends.clear();
    weights.clear();
    element_ends.clear();
  }
};

// Sequences of numbers, dim() numbers for each element; `ends` as in kSequence.
struct NumberValues {
  Array<float> numbers;
  Array<int64_t> ends;

  void Clear() {
    numbers.clear();
    ends.clear();
  }
};

// A feature that produces ids.
class IdFeature {
 public:
  virtual ~IdFeature() = default;
  virtual IdShape shape() const = 0;
  // Fills `out`, which is empty.
  virtual void Run(ArrowCells* cells, IdValues* out) = 0;
};

// A feature that produces numbers.
class NumberFeature {
 public:
  virtual ~NumberFeature() = default;
  virtual int dim() const = 0;
  // Writes dim() numbers for each row, rows `stride` apart.
  virtual void Run(ArrowCells* cells, float* out, int64_t stride) = 0;
};

// A feature that produces a sequence of numbers in each row.
class NumberSequence {
 public:
  virtual ~NumberSequence() = default;
  virtual int dim() const = 0;
  // Fills `out`, which is empty.
  virtual void Run(ArrowCells* cells, NumberValues* out) = 0;
};

// Token -> id: hashing, a vocabulary, or the number itself.
class IdMap {
 public:
  explicit IdMap(const FeatureSpec& spec);

  bool identity() const { return mode_ == Mode::kIdentity; }
  // Whether ids are hashes modulo buckets().
  bool hashed() const { return mode_ == Mode::kHash && keys_ == nullptr; }
  const Modulo& buckets() const { return buckets_; }

  // The id of a token that isn't empty; identity maps need Number().
  int32_t Token(std::string_view token) const {
    return mode_ == Mode::kHash ? Bucket(Fingerprint64(token)) : Word(token);
  }

  // The id of a hash.
  int32_t Bucket(uint64_t hash) const { return Id(buckets_(hash)); }

  // The id of a number by an identity map: out of range becomes 0.
  int32_t Number(int64_t value) const {
    return Id(static_cast<uint64_t>(value) < buckets_.divisor() ? static_cast<uint64_t>(value) : 0);
  }

 private:
  enum class Mode { kHash, kVocabulary, kIdentity };
  struct Hash {
    size_t operator()(std::string_view text) const { return Fingerprint64(text); }
  };
  int32_t Word(std::string_view token) const;
  int32_t Id(uint64_t id) const {
    return keys_ == nullptr ? static_cast<int32_t>(id) : keys_->Number(static_cast<int64_t>(id));
  }

  Mode mode_;
  std::shared_ptr<DistinctKeys> keys_;
  Modulo buckets_;
  std::vector<std::string> words_;
  std::unordered_map<std::string_view, int32_t, Hash> ids_;
};

// Calls `use` with each part of `text` between any of the characters of `separators`; empty parts
// are left out. Without separators the whole text is one part.
template <typename Use>
void ForEachToken(std::string_view text, std::string_view separators, const Use& use) {
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = std::string_view::npos;
    if (separators.size() == 1) {
      end = text.find(separators[0], begin);
    } else if (!separators.empty()) {
      end = text.find_first_of(separators, begin);
    }
    if (end == std::string_view::npos) end = text.size();
    if (end > begin) use(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

// Calls `use` with each number of a cell: the elements of a list (0 for a null), the parts of a
// STRING between any of the characters of `separators`, or the one number of another type.
template <typename Use>
void ForEachNumber(ArrowCells* cells, int field, int64_t row, std::string_view separators,
                   const Use& use) {
  const Column& column = cells->column(field);
  if (column.HasList(row)) {
    int64_t begin, end;
    column.List(row, &begin, &end);
    const Column& elements = column.elements();
    for (int64_t at = begin; at < end; ++at) {
      use(elements.Null(at) ? 0.0 : cells->ElementNumber(elements, at, row));
    }
    return;
  }
  const bool text = column.storage() == Column::Storage::kText;
  const bool list = column.storage() == Column::Storage::kList;
  if (!list && (column.field().type != FieldType::kString || (!text && !column.Null(row)))) {
    use(cells->Number(field, row));
    return;
  }
  std::string_view cell = text ? column.Raw(row) : std::string_view();
  if (cell.empty()) cell = column.field().default_text;
  const Field number{column.field().name, FieldType::kDouble, ""};
  ForEachToken(cell, separators,
               [&](std::string_view token) { use(cells->ParseNumber(token, number, row)); });
}

std::unique_ptr<IdFeature> MakeIdFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeTagFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeLookupFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeComboFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeBucketFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeProjectedFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeSequenceFeature(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeBucketSequence(const FeatureSpec& spec);
std::unique_ptr<IdFeature> MakeProjectedSequence(const FeatureSpec& spec);
std::unique_ptr<NumberFeature> MakeRawFeature(const FeatureSpec& spec);
std::unique_ptr<NumberFeature> MakeExprFeature(const FeatureSpec& spec);
std::unique_ptr<NumberSequence> MakeNumberSequence(const FeatureSpec& spec);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_FEATURE_H_
