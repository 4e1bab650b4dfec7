#include "kernels/features/packer.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "kernels/features/fingerprint.h"

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

void ReadNumbers(ArrowCells* cells, int field, float* out) {
  cells->EachNumber(field, [out](int64_t row, double x) { out[row] = static_cast<float>(x); });
}

}  // namespace

Packer::Packer(PackerSpec spec) : spec_(std::move(spec)) {
  for (const FeatureSpec& f : spec_.id_features) id_features_.push_back(MakeFeature(f));
  for (const FeatureSpec& f : spec_.number_features) number_features_.push_back(MakeRawFeature(f));
  for (const BankSpec& bank : spec_.banks) distinct_.emplace_back(bank.rows);
  values_.resize(id_features_.size());
}

Packed Packer::Pack(const ArrowSchema& schema, const ArrowArray& array, bool collect) {
  const std::lock_guard<std::mutex> lock(one_call_);
  ArrowCells cells(spec_.fields, schema, array, collect);
  Packed out;
  out.rows = cells.rows();
  for (size_t i = 0; i < id_features_.size(); ++i) {
    values_[i].Clear();
    id_features_[i]->Run(&cells, &values_[i]);
  }
  out.dense.resize(static_cast<size_t>(out.rows * spec_.dense_dim));
  for (const DenseSpec& d : spec_.dense) {
    number_features_[d.feature]->Run(&cells, out.dense.data() + d.position, spec_.dense_dim);
  }
  PackLabels(&cells, &out);
  PackIds(&cells, &out);
  out.bad = cells.bad();
  out.first_bad_row = cells.first_bad_row();
  out.first_bad = cells.first_bad();
  if (out.bad.empty()) PackLookups(&out);
  return out;
}

void Packer::PackLookups(Packed* out) {
  out->banks.resize(spec_.banks.size());
  for (size_t b = 0; b < spec_.banks.size(); ++b) {
    distinct_[b].Begin();
    out->banks[b].index.resize(static_cast<size_t>(out->rows * spec_.banks[b].singles));
  }
  for (const LookupSpec& lookup : spec_.lookups) {
    if (id_features_[lookup.feature]->multi()) {
      PackMulti(lookup, values_[lookup.feature], out);
    } else {
      PackSingle(lookup, values_[lookup.feature], out);
    }
  }
}

void Packer::PackSingle(const LookupSpec& lookup, const IdValues& values, Packed* out) {
  PackedBank& bank = out->banks[lookup.bank];
  Distinct& distinct = distinct_[lookup.bank];
  const int stride = spec_.banks[lookup.bank].singles;
  int32_t* place = bank.index.data() + lookup.slot;
  for (const int32_t id : values.ids) {
    *place = id < 0 ? 0 : distinct.Number(lookup.offset + id, &bank.rows);
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
      bank.multi_index.push_back(distinct.Number(lookup.offset + values.ids[begin], &bank.rows));
      bank.multi_segment.push_back(static_cast<int32_t>(first + row));
      bank.multi_weight.push_back(values.weights[begin]);
    }
  }
}

void Packer::CheckLabels(ArrowCells* cells, const LabelSpec& label, const float* values,
                         int64_t rows) const {
  const float high = label.classes > 0 ? static_cast<float>(label.classes - 1) : label.high;
  const float low = label.classes > 0 ? 0.0f : label.low;
  for (int64_t row = 0; row < rows; ++row) {
    const float value = values[row];
    const bool whole = label.classes == 0 || value == std::floor(value);
    if (value >= low && value <= high && whole) continue;
    std::ostringstream text;
    text << "label " << value << " where " << label.range;
    cells->Bad(row, spec_.fields[label.field], text.str());
  }
}

void Packer::PackLabels(ArrowCells* cells, Packed* out) const {
  const ArrowCells::Advice advice(cells, "labels are numbers: code them in the data");
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
        cells->Bad(
            row, field,
            std::to_string(found) + " numbers where label_dim is " + std::to_string(label.dim));
      }
    }
    RequireFinite(cells, field, values.data(), values.size(), label.dim);
    out->labels.push_back(std::move(values));
  }
  if (spec_.weight_field >= 0) {
    out->weight.resize(static_cast<size_t>(out->rows));
    ReadNumbers(cells, spec_.weight_field, out->weight.data());
    RequireFinite(cells, spec_.fields[spec_.weight_field], out->weight.data(), out->weight.size(),
                  1);
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
