// The packer: a feature plan, compiled, and run over one batch of Arrow columns at a time.

#ifndef HVDREC_KERNELS_FEATURES_PACKER_H_
#define HVDREC_KERNELS_FEATURES_PACKER_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/base/array.h"
#include "kernels/features/feature.h"
#include "kernels/features/lookups.h"
#include "kernels/rows/arrow_cells.h"

namespace hvdrec {

struct DenseSpec {
  int feature = 0;
  int position = 0;  // first column
};

// A feature whose rows have different lengths.
struct SequenceSpec {
  int feature = 0;  // among the id features or, with `numbers`, the number sequences
  bool numbers = false;
};

struct LabelSpec {
  int field = 0;
  int dim = 1;
  std::string separator;
  int classes = 0;  // above 0: only whole numbers below it are labels
  // Otherwise only numbers from `low` to `high`, and why.
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  std::string range;
};

struct PackerSpec {
  std::vector<Field> fields;
  std::vector<FeatureSpec> id_features;
  std::vector<FeatureSpec> number_features;
  std::vector<FeatureSpec> number_sequences;
  std::vector<FeatureSpec> texts;
  std::vector<LookupSpec> lookups;
  std::vector<BankSpec> banks;
  std::vector<DenseSpec> dense;
  int dense_dim = 0;
  std::vector<SequenceSpec> sequences;
  std::vector<std::vector<int>> equal_lengths;  // sets of sequences
  std::vector<LabelSpec> labels;
  int weight_field = -1;
  std::vector<int> id_fields;
};

// What hvdrec/features/layout.py describes.
struct Packed {
  int64_t rows = 0;
  // For each row whether it is bad, empty if none is. If one is, no arrays are set, but the
  // position and the fault of the first bad cell found.
  std::vector<uint8_t> bad;
  int64_t first_bad_row = -1;
  std::string first_bad;
  Array<float> dense;
  Array<int32_t> lengths;
  Array<int32_t> sequence_row;
  Array<float> sequence_numbers;
  Array<int32_t> text_words;
  Array<int32_t> text_lengths;
  std::vector<PackedBank> banks;
  std::vector<Array<float>> labels;
  Array<float> weight;
  std::vector<Array<int64_t>> ids;
  // The labels and the weight without a default that have an empty cell, and the first such cell.
  struct EmptyCell {
    int field;
    int64_t row;
  };
  std::vector<EmptyCell> empty;
};

class Packer {
 public:
  explicit Packer(PackerSpec spec);

  // Packs a struct array whose children are the fields in order. One call at a time.
  //
  // Throws BadCell at the first cell that can't be used, or, with `collect`, returns which rows
  // have one.
  Packed Pack(const ArrowSchema& schema, const ArrowArray& array, bool collect);

 private:
  void PackSequences(Packed* out) const;
  void PackTexts(ArrowCells* cells, Packed* out) const;
  void CheckLengths(ArrowCells* cells) const;
  const Array<int64_t>& Ends(const SequenceSpec& sequence) const;
  const Field& InputOf(const SequenceSpec& sequence) const;
  void PackLabels(ArrowCells* cells, Packed* out) const;
  void PackWeight(ArrowCells* cells, Packed* out) const;
  void NoteEmpty(const ArrowCells& cells, int field, Packed* out) const;
  void CheckLabels(ArrowCells* cells, const LabelSpec& label, const float* values,
                   int64_t rows) const;
  void PackIds(ArrowCells* cells, Packed* out) const;

  const PackerSpec spec_;
  std::vector<std::unique_ptr<IdFeature>> id_features_;
  std::vector<std::unique_ptr<NumberFeature>> number_features_;
  std::vector<std::unique_ptr<NumberSequence>> number_sequences_;
  std::vector<std::shared_ptr<DistinctKeys>> keys_;  // by id feature, null for those without
  std::vector<IdValues> values_;                     // by id feature, of the current batch
  std::vector<NumberValues> numbers_;                // by number sequence, likewise
  std::unique_ptr<Lookups> lookups_;
  std::mutex one_call_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_PACKER_H_
