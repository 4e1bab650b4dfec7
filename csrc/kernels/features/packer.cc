#include "kernels/features/packer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "kernels/features/fingerprint.h"
#include "kernels/text/utf8.h"

namespace hvdrec {
namespace {

std::unique_ptr<IdFeature> MakeFeature(const FeatureSpec& spec) {
  if (spec.type == "id") return MakeIdFeature(spec);
  if (spec.type == "tag") return MakeTagFeature(spec);
  if (spec.type == "lookup") return MakeLookupFeature(spec);
  if (spec.type == "combo") return MakeComboFeature(spec);
  if (spec.type == "bucket") return MakeBucketFeature(spec);
  if (spec.type == "projected") return MakeProjectedFeature(spec);
  if (spec.type == "sequence") return MakeSequenceFeature(spec);
  if (spec.type == "bucket_sequence") return MakeBucketSequence(spec);
  if (spec.type == "projected_sequence") return MakeProjectedSequence(spec);
  throw std::invalid_argument("no feature type is named " + spec.type);
}

std::unique_ptr<NumberFeature> MakeNumberFeature(const FeatureSpec& spec) {
  if (spec.type == "raw") return MakeRawFeature(spec);
  if (spec.type == "expression") return MakeExprFeature(spec);
  throw std::invalid_argument("no feature type of numbers is named " + spec.type);
}

void ReadNumbers(ArrowCells* cells, int field, float* out) {
  cells->EachNumber(field, [out](int64_t row, double x) { out[row] = static_cast<float>(x); });
}

}  // namespace

Packer::Packer(PackerSpec spec) : spec_(std::move(spec)) {
  for (FeatureSpec f : spec_.id_features) {
    if (f.open) f.keys = std::make_shared<DistinctKeys>();
    keys_.push_back(f.keys);
    id_features_.push_back(MakeFeature(f));
  }
  for (const FeatureSpec& f : spec_.number_features) {
    number_features_.push_back(MakeNumberFeature(f));
  }
  for (const FeatureSpec& f : spec_.number_sequences) {
    number_sequences_.push_back(MakeNumberSequence(f));
  }
  std::vector<IdShape> shapes;
  for (const auto& feature : id_features_) shapes.push_back(feature->shape());
  lookups_ = std::make_unique<Lookups>(spec_.lookups, spec_.banks, std::move(shapes));
  values_.resize(id_features_.size());
  numbers_.resize(number_sequences_.size());
}

Packed Packer::Pack(const ArrowSchema& schema, const ArrowArray& array, bool collect) {
  const std::lock_guard<std::mutex> lock(one_call_);
  ArrowCells cells(spec_.fields, schema, array, collect);
  Packed out;
  out.rows = cells.rows();
  for (size_t i = 0; i < id_features_.size(); ++i) {
    values_[i].Clear();
    if (keys_[i] != nullptr) keys_[i]->Begin();
    id_features_[i]->Run(&cells, &values_[i]);
    values_[i].keys = keys_[i] == nullptr ? nullptr : &keys_[i]->found();
  }
  for (size_t i = 0; i < number_sequences_.size(); ++i) {
    numbers_[i].Clear();
    number_sequences_[i]->Run(&cells, &numbers_[i]);
  }
  CheckLengths(&cells);
  out.dense.resize(static_cast<size_t>(out.rows * spec_.dense_dim));
  for (const DenseSpec& d : spec_.dense) {
    number_features_[d.feature]->Run(&cells, out.dense.data() + d.position, spec_.dense_dim);
  }
  PackTexts(&cells, &out);
  PackLabels(&cells, &out);
  PackWeight(&cells, &out);
  PackIds(&cells, &out);
  out.bad = cells.bad();
  out.first_bad_row = cells.first_bad_row();
  out.first_bad = cells.first_bad();
  if (out.bad.empty()) {
    out.banks = lookups_->Pack(values_, out.rows);
    PackSequences(&out);
    for (const LabelSpec& label : spec_.labels) NoteEmpty(cells, label.field, &out);
    if (spec_.weight_field >= 0) NoteEmpty(cells, spec_.weight_field, &out);
  }
  return out;
}

const Array<int64_t>& Packer::Ends(const SequenceSpec& sequence) const {
  return sequence.numbers ? numbers_[sequence.feature].ends : values_[sequence.feature].ends;
}

const Field& Packer::InputOf(const SequenceSpec& sequence) const {
  const auto& features = sequence.numbers ? spec_.number_sequences : spec_.id_features;
  return spec_.fields[features[sequence.feature].inputs[0]];
}

void Packer::PackSequences(Packed* out) const {
  const size_t count = spec_.sequences.size();
  out->lengths.resize(static_cast<size_t>(out->rows) * count);
  for (size_t q = 0; q < count; ++q) {
    const Array<int64_t>& ends = Ends(spec_.sequences[q]);
    int64_t begin = 0;
    for (int64_t row = 0; row < out->rows; ++row) {
      const int64_t length = ends[row] - begin;
      out->lengths[static_cast<size_t>(row) * count + q] = static_cast<int32_t>(length);
      out->sequence_row.insert(out->sequence_row.end(), static_cast<size_t>(length),
                               static_cast<int32_t>(row));
      begin = ends[row];
    }
  }
  for (const NumberValues& values : numbers_) {
    out->sequence_numbers.insert(out->sequence_numbers.end(), values.numbers.begin(),
                                 values.numbers.end());
  }
}

void Packer::PackTexts(ArrowCells* cells, Packed* out) const {
  const size_t count = spec_.texts.size();
  if (count == 0) return;
  out->text_lengths.resize(static_cast<size_t>(out->rows) * count);
  std::string bytes, scratch;
  for (size_t t = 0; t < count; ++t) {
    const int field = spec_.texts[t].inputs[0];
    const Column& column = cells->column(field);
    for (int64_t row = 0; row < out->rows; ++row) {
      if (column.HasList(row)) {
        cells->Bad(row, column.field(), "a list, but a PassThroughFeature is one text per row");
      }
      const std::string_view text = cells->Text(field, row, &scratch);
      const size_t invalid = FirstInvalidUtf8(text);
      if (invalid != std::string_view::npos) {
        cells->Bad(row, column.field(),
                   Quoted(text) + " is not UTF-8: byte " + std::to_string(invalid + 1) +
                       " begins no character");
      }
      out->text_lengths[static_cast<size_t>(row) * count + t] = static_cast<int32_t>(text.size());
      bytes.append(text);
    }
  }
  out->text_words.resize((bytes.size() + sizeof(int32_t) - 1) / sizeof(int32_t), 0);
  if (!bytes.empty()) std::memcpy(out->text_words.data(), bytes.data(), bytes.size());
}

void Packer::CheckLengths(ArrowCells* cells) const {
  for (const std::vector<int>& equal : spec_.equal_lengths) {
    const SequenceSpec& first = spec_.sequences[equal[0]];
    const Array<int64_t>& wanted = Ends(first);
    for (size_t i = 1; i < equal.size(); ++i) {
      const SequenceSpec& other = spec_.sequences[equal[i]];
      const Array<int64_t>& found = Ends(other);
      for (int64_t row = 0; row < cells->rows(); ++row) {
        const int64_t a = wanted[row] - (row > 0 ? wanted[row - 1] : 0);
        const int64_t b = found[row] - (row > 0 ? found[row - 1] : 0);
        if (a == b) continue;
        cells->Bad(row, InputOf(other),
                   "has " + std::to_string(b) + " elements, but column '" + InputOf(first).name +
                       "' has " + std::to_string(a) +
                       "; histories of one attention group must have equal lengths");
      }
    }
  }
}

void Packer::CheckLabels(ArrowCells* cells, const LabelSpec& label, const float* values,
                         int64_t rows) const {
  const float high = label.classes > 0 ? static_cast<float>(label.classes - 1) : label.high;
  const float low = label.classes > 0 ? 0.0f : label.low;
  const auto good = [low, high, any = label.classes == 0](float value) {
    return static_cast<int>(value >= low) & static_cast<int>(value <= high) &
           (static_cast<int>(any) | static_cast<int>(value == std::floor(value)));
  };
  int all = 1;
  for (int64_t row = 0; row < rows; ++row) all &= good(values[row]);
  if (all != 0) return;
  for (int64_t row = 0; row < rows; ++row) {
    const float value = values[row];
    if (good(value) != 0) continue;
    std::ostringstream text;
    text << "label " << value << ", but " << label.range;
    cells->Bad(row, spec_.fields[label.field], text.str());
  }
}

void Packer::PackLabels(ArrowCells* cells, Packed* out) const {
  const ArrowCells::Advice advice(cells, "labels must be numbers; encode them in the data");
  for (const LabelSpec& label : spec_.labels) {
    Array<float> values(static_cast<size_t>(out->rows * label.dim));
    const Field& field = spec_.fields[label.field];
    if (label.dim == 1) {
      ReadNumbers(cells, label.field, values.data());
      RequireFinite(cells, field, values.data(), values.size(), 1);
      CheckLabels(cells, label, values.data(), out->rows);
      out->labels.push_back(std::move(values));
      continue;
    }
    for (int64_t row = 0; row < out->rows; ++row) {
      std::fill_n(&values[row * label.dim], label.dim, 0.0f);
      int found = 0;
      ForEachNumber(cells, label.field, row, label.separator, [&](double number) {
        if (found < label.dim) values[row * label.dim + found] = static_cast<float>(number);
        ++found;
      });
      if (found != label.dim) {
        cells->Bad(row, field,
                   "found " + std::to_string(found) + " numbers, but label_dim is " +
                       std::to_string(label.dim));
      }
    }
    RequireFinite(cells, field, values.data(), values.size(), label.dim);
    out->labels.push_back(std::move(values));
  }
}

void Packer::PackWeight(ArrowCells* cells, Packed* out) const {
  if (spec_.weight_field < 0) return;
  const ArrowCells::Advice advice(cells, "sample weights must be numbers");
  const Field& field = spec_.fields[spec_.weight_field];
  out->weight.resize(static_cast<size_t>(out->rows));
  ReadNumbers(cells, spec_.weight_field, out->weight.data());
  RequireFinite(cells, field, out->weight.data(), out->weight.size(), 1);
  for (int64_t row = 0; row < out->rows; ++row) {
    if (out->weight[row] >= 0.0f) continue;
    std::ostringstream text;
    text << "sample weight " << out->weight[row] << " is negative";
    cells->Bad(row, field, text.str());
  }
}

void Packer::NoteEmpty(const ArrowCells& cells, int field, Packed* out) const {
  if (!spec_.fields[field].default_text.empty()) return;
  const Column& column = cells.column(field);
  const bool text = column.storage() == Column::Storage::kText;
  for (int64_t row = 0; row < out->rows; ++row) {
    if (!column.Null(row) && !(text && column.Raw(row).empty())) continue;
    out->empty.push_back({field, row});
    return;
  }
}

void Packer::PackIds(ArrowCells* cells, Packed* out) const {
  std::string scratch;
  for (const int index : spec_.id_fields) {
    const FieldType type = spec_.fields[index].type;
    const bool whole = type == FieldType::kInt32 || type == FieldType::kInt64;
    Array<int64_t> values(static_cast<size_t>(out->rows));
    for (int64_t row = 0; row < out->rows; ++row) {
      values[row] = whole
                        ? cells->Integer(index, row)
                        : static_cast<int64_t>(Fingerprint64(cells->Text(index, row, &scratch, 9)));
    }
    out->ids.push_back(std::move(values));
  }
}

}  // namespace hvdrec
