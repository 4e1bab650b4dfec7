#include "kernels/packer.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "kernels/fingerprint.h"

namespace hvdrec {
namespace {

std::unique_ptr<IdFeature> MakeFeature(const FeatureSpec& spec) {
  if (spec.type == "id") return MakeIdFeature(spec);
  if (spec.type == "tag") return MakeTagFeature(spec);
  if (spec.type == "combo") return MakeComboFeature(spec);
  if (spec.type == "bucket") return MakeBucketFeature(spec);
  if (spec.type == "projected") return MakeProjectedFeature(spec);
  throw std::invalid_argument("no feature type is named " + spec.type);
}

}  // namespace

void Packer::Distinct::Begin() {
  if (++round_ == 0) {
    std::fill(seen_.begin(), seen_.end(), 0);
    round_ = 1;
  }
}

int32_t Packer::Distinct::Place(int32_t row, std::vector<int32_t>* rows) {
  if (seen_[row] != round_) {
    seen_[row] = round_;
    rows->push_back(row);
    place_[row] = static_cast<int32_t>(rows->size());
  }
  return place_[row];
}

Packer::Packer(PackerSpec spec) : spec_(std::move(spec)) {
  for (const FeatureSpec& f : spec_.id_features) id_features_.push_back(MakeFeature(f));
  for (const FeatureSpec& f : spec_.number_features) number_features_.push_back(MakeRawFeature(f));
  for (const BankSpec& bank : spec_.banks) distinct_.emplace_back(bank.rows);
}

Packed Packer::Pack(const ArrowSchema& schema, const ArrowArray& array, bool collect) {
  const std::lock_guard<std::mutex> lock(one_call_);
  Cells cells(spec_.fields, schema, array, collect);
  Packed out;
  out.rows = cells.rows();
  std::vector<IdValues> values(id_features_.size());
  for (size_t i = 0; i < id_features_.size(); ++i) id_features_[i]->Run(&cells, &values[i]);
  out.dense.resize(static_cast<size_t>(out.rows * spec_.dense_dim));
  for (const DenseSpec& d : spec_.dense) {
    number_features_[d.feature]->Run(&cells, out.dense.data() + d.position, spec_.dense_dim);
  }
  PackLabels(&cells, &out);
  PackIds(&cells, &out);
  out.bad = cells.bad();
  if (out.bad.empty()) PackLookups(values, &out);
  return out;
}

void Packer::PackLookups(const std::vector<IdValues>& values, Packed* out) {
  out->banks.resize(spec_.banks.size());
  for (size_t b = 0; b < spec_.banks.size(); ++b) {
    distinct_[b].Begin();
    out->banks[b].index.resize(static_cast<size_t>(out->rows * spec_.banks[b].singles));
  }
  for (const LookupSpec& lookup : spec_.lookups) {
    if (id_features_[lookup.feature]->multi()) {
      PackMulti(lookup, values[lookup.feature], out);
    } else {
      PackSingle(lookup, values[lookup.feature], out);
    }
  }
}

void Packer::PackSingle(const LookupSpec& lookup, const IdValues& values, Packed* out) {
  PackedBank& bank = out->banks[lookup.bank];
  Distinct& distinct = distinct_[lookup.bank];
  const int stride = spec_.banks[lookup.bank].singles;
  int32_t* place = bank.index.data() + lookup.slot;
  for (const int32_t id : values.ids) {
    *place = id < 0 ? 0 : distinct.Place(lookup.offset + id, &bank.rows);
    place += stride;
  }
}

void Packer::PackMulti(const LookupSpec& lookup, const IdValues& values, Packed* out) {
  PackedBank& bank = out->banks[lookup.bank];
  Distinct& distinct = distinct_[lookup.bank];
  const auto first = static_cast<int64_t>(lookup.slot) * out->rows;
  int64_t begin = 0;
  for (int64_t row = 0; row < out->rows; ++row) {
    for (; begin < values.ends[row]; ++begin) {
      bank.multi_index.push_back(distinct.Place(lookup.offset + values.ids[begin], &bank.rows));
      bank.multi_segment.push_back(static_cast<int32_t>(first + row));
      bank.multi_weight.push_back(values.weights[begin]);
    }
  }
}

void Packer::PackLabels(Cells* cells, Packed* out) const {
  std::string scratch;
  for (const LabelSpec& label : spec_.labels) {
    std::vector<float> values(static_cast<size_t>(out->rows * label.dim));
    const Field& field = spec_.fields[label.field];
    for (int64_t row = 0; row < out->rows; ++row) {
      if (label.dim == 1) {
        values[row] = static_cast<float>(cells->Number(label.field, row));
        continue;
      }
      const Field number{field.name, FieldType::kDouble, ""};
      int found = 0;
      ForEachToken(cells->Text(label.field, row, &scratch, 9), label.separator,
                   [&](std::string_view token) {
                     if (found < label.dim) {
                       values[row * label.dim + found] =
                           static_cast<float>(cells->ParseNumber(token, number, row));
                     }
                     ++found;
                   });
      if (found != label.dim) {
        cells->Bad(
            row, field,
            std::to_string(found) + " numbers where label_dim is " + std::to_string(label.dim));
      }
    }
    out->labels.push_back(std::move(values));
  }
  if (spec_.weight_field >= 0) {
    out->weight.resize(static_cast<size_t>(out->rows));
    for (int64_t row = 0; row < out->rows; ++row) {
      out->weight[row] = static_cast<float>(cells->Number(spec_.weight_field, row));
    }
  }
}

void Packer::PackIds(Cells* cells, Packed* out) const {
  std::string scratch;
  for (const int index : spec_.id_fields) {
    const FieldType type = spec_.fields[index].type;
    const bool whole = type == FieldType::kInt32 || type == FieldType::kInt64;
    std::vector<int64_t> values(static_cast<size_t>(out->rows));
    for (int64_t row = 0; row < out->rows; ++row) {
      values[row] = whole
                        ? cells->Integer(index, row)
                        : static_cast<int64_t>(Fingerprint64(cells->Text(index, row, &scratch, 9)));
    }
    out->ids.push_back(std::move(values));
  }
}

}  // namespace hvdrec
