#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/features/fingerprint.h"
#include "kernels/features/packer.h"
#include "python/adopt.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

FieldType ParseType(const std::string& name) {
  if (name == "STRING") return FieldType::kString;
  if (name == "INT32") return FieldType::kInt32;
  if (name == "INT64") return FieldType::kInt64;
  if (name == "FLOAT") return FieldType::kFloat;
  if (name == "DOUBLE") return FieldType::kDouble;
  if (name == "BOOL") return FieldType::kBool;
  throw std::invalid_argument("no field type is named " + name);
}

Pool ParsePool(const std::string& name) {
  if (name.empty()) return Pool::kNone;
  if (name == "sum") return Pool::kSum;
  if (name == "mean") return Pool::kMean;
  if (name == "min") return Pool::kMin;
  if (name == "max") return Pool::kMax;
  throw std::invalid_argument("no pool is named " + name);
}

// Reads the attribute into a member of the same type.
template <typename T>
void Get(const py::handle& from, const char* name, T* to) {
  *to = from.attr(name).cast<T>();
}

// The result of `parse` for each part of a tuple.
template <typename Parse>
auto GetAll(const py::handle& from, const char* name, const Parse& parse) {
  std::vector<decltype(parse(from))> all;
  for (const py::handle part : from.attr(name)) all.push_back(parse(part));
  return all;
}

// These read the dataclasses of hvdrec/features/packer_spec.py.
FeatureSpec ParseFeature(const py::handle& from) {
  FeatureSpec spec;
  Get(from, "type", &spec.type);
  Get(from, "inputs", &spec.inputs);
  Get(from, "hash_buckets", &spec.hash_buckets);
  Get(from, "num_buckets", &spec.num_buckets);
  Get(from, "open", &spec.open);
  Get(from, "vocabulary", &spec.vocabulary);
  Get(from, "precision", &spec.precision);
  Get(from, "separator", &spec.separator);
  Get(from, "inner_separator", &spec.inner_separator);
  Get(from, "kv_separator", &spec.kv_separator);
  Get(from, "positive_weights", &spec.positive_weights);
  Get(from, "dim", &spec.dim);
  Get(from, "low", &spec.low);
  Get(from, "high", &spec.high);
  Get(from, "normalizer", &spec.normalizer);
  spec.pool = ParsePool(from.attr("pool").cast<std::string>());
  Get(from, "boundaries", &spec.boundaries);
  Get(from, "join_separator", &spec.join_separator);
  Get(from, "input_separators", &spec.input_separators);
  Get(from, "most", &spec.most);
  Get(from, "length", &spec.length);
  Get(from, "expression", &spec.expression);
  Get(from, "steps", &spec.steps);
  return spec;
}

LookupSpec ParseLookup(const py::handle& from) {
  LookupSpec spec;
  Get(from, "feature", &spec.feature);
  Get(from, "bank", &spec.bank);
  Get(from, "slot", &spec.slot);
  Get(from, "offset", &spec.offset);
  return spec;
}

BankSpec ParseBank(const py::handle& from) {
  BankSpec spec;
  Get(from, "rows", &spec.rows);
  Get(from, "singles", &spec.singles);
  Get(from, "dynamic", &spec.dynamic);
  return spec;
}

DenseSpec ParseDense(const py::handle& from) {
  DenseSpec spec;
  Get(from, "feature", &spec.feature);
  Get(from, "position", &spec.position);
  return spec;
}

SequenceSpec ParseSequence(const py::handle& from) {
  SequenceSpec spec;
  Get(from, "feature", &spec.feature);
  Get(from, "numbers", &spec.numbers);
  return spec;
}

LabelSpec ParseLabel(const py::handle& from) {
  LabelSpec spec;
  Get(from, "field", &spec.field);
  Get(from, "dim", &spec.dim);
  Get(from, "separator", &spec.separator);
  Get(from, "classes", &spec.classes);
  Get(from, "low", &spec.low);
  Get(from, "high", &spec.high);
  Get(from, "range", &spec.range);
  return spec;
}

PackerSpec ParseSpec(const py::handle& fields, const py::handle& from) {
  PackerSpec spec;
  for (const py::handle field : fields) {
    spec.fields.push_back({field.attr("name").cast<std::string>(),
                           ParseType(field.attr("dtype").cast<std::string>()),
                           field.attr("default").cast<std::string>()});
  }
  spec.id_features = GetAll(from, "id_features", ParseFeature);
  spec.number_features = GetAll(from, "number_features", ParseFeature);
  spec.number_sequences = GetAll(from, "number_sequences", ParseFeature);
  spec.texts = GetAll(from, "texts", ParseFeature);
  spec.lookups = GetAll(from, "lookups", ParseLookup);
  spec.banks = GetAll(from, "banks", ParseBank);
  spec.dense = GetAll(from, "dense", ParseDense);
  Get(from, "dense_dim", &spec.dense_dim);
  spec.sequences = GetAll(from, "sequences", ParseSequence);
  Get(from, "equal_lengths", &spec.equal_lengths);
  spec.labels = GetAll(from, "labels", ParseLabel);
  Get(from, "weight_field", &spec.weight_field);
  Get(from, "id_fields", &spec.id_fields);
  return spec;
}

// An array of the batch: the `ArraySpec` of hvdrec/features/layout.py.
struct ArrayPlace {
  std::string name;
  std::string part;
  int number;
  int width;
};

ArrayPlace ParsePlace(const py::handle& from) {
  return {from.attr("name").cast<std::string>(), from.attr("part").cast<std::string>(),
          from.attr("number").cast<int>(), from.attr("width").cast<int>()};
}

// The array of one part of the batch; each is requested once.
py::array Take(const ArrayPlace& place, Packed* packed) {
  if (place.part == "dense") return Adopt(std::move(packed->dense));
  if (place.part == "lengths") return Adopt(std::move(packed->lengths));
  if (place.part == "sequence_row") return Adopt(std::move(packed->sequence_row));
  if (place.part == "sequence_numbers") return Adopt(std::move(packed->sequence_numbers));
  if (place.part == "text_words") return Adopt(std::move(packed->text_words));
  if (place.part == "text_lengths") return Adopt(std::move(packed->text_lengths));
  if (place.part == "label") return Adopt(std::move(packed->labels.at(place.number)));
  if (place.part == "sample_weight") return Adopt(std::move(packed->weight));
  if (place.part == "id") return Adopt(std::move(packed->ids.at(place.number)));
  PackedBank& bank = packed->banks.at(place.number);
  if (place.part == "rows") return Adopt(std::move(bank.rows));
  if (place.part == "keys") return Adopt(std::move(bank.keys));
  if (place.part == "tables") return Adopt(std::move(bank.tables));
  if (place.part == "counts") return Adopt(std::move(bank.counts));
  if (place.part == "index") return Adopt(std::move(bank.index));
  if (place.part == "multi_index") return Adopt(std::move(bank.multi_index));
  if (place.part == "multi_segment") return Adopt(std::move(bank.multi_segment));
  if (place.part == "multi_weight") return Adopt(std::move(bank.multi_weight));
  if (place.part == "sequence_index") return Adopt(std::move(bank.sequence_index));
  if (place.part == "nested_index") return Adopt(std::move(bank.nested_index));
  if (place.part == "nested_segment") return Adopt(std::move(bank.nested_segment));
  if (place.part == "nested_weight") return Adopt(std::move(bank.nested_weight));
  throw std::invalid_argument("no part of a batch is named " + place.part);
}

py::dict Arrays(const std::vector<ArrayPlace>& places, Packed packed) {
  py::dict out;
  for (const ArrayPlace& place : places) {
    py::array values = Take(place, &packed);
    if (place.width > 0) {
      const py::ssize_t rows = values.size() / place.width;
      values = values.reshape(std::vector<py::ssize_t>{rows, place.width});
    }
    out[py::str(place.name)] = std::move(values);
  }
  return out;
}

// The packer for Python; hvdrec/features/packer.py wraps it.
class PythonPacker {
 public:
  PythonPacker(const py::tuple& fields, const py::handle& spec, const py::tuple& arrays)
      : packer_(ParseSpec(fields, spec)) {
    for (const py::handle array : arrays) places_.push_back(ParsePlace(array));
  }

  // Packs the struct array behind the two capsules of `__arrow_c_array__`.
  //
  // Returns (rows, arrays, None, empty) with `empty` the pairs (field, row) of Packed::empty, or
  // with bad rows and `collect` (rows, None, (uint8 [rows], row, text), []). A bad cell without
  // `collect` is raised as BadCell(row, text).
  py::tuple Pack(const py::capsule& schema, const py::capsule& array, bool collect) {
    const auto* arrow_schema =
        static_cast<ArrowSchema*>(PyCapsule_GetPointer(schema.ptr(), "arrow_schema"));
    const auto* arrow_array =
        static_cast<ArrowArray*>(PyCapsule_GetPointer(array.ptr(), "arrow_array"));
    if (arrow_schema == nullptr || arrow_array == nullptr) throw py::error_already_set();
    Packed packed;
    {
      const py::gil_scoped_release release;
      packed = packer_.Pack(*arrow_schema, *arrow_array, collect);
    }
    const int64_t rows = packed.rows;
    if (!packed.bad.empty()) {
      return py::make_tuple(
          rows, py::none(),
          py::make_tuple(Adopt(std::move(packed.bad)), packed.first_bad_row, packed.first_bad),
          py::list());
    }
    py::list empty;
    for (const Packed::EmptyCell& cell : packed.empty) {
      empty.append(py::make_tuple(cell.field, cell.row));
    }
    return py::make_tuple(rows, Arrays(places_, std::move(packed)), py::none(), std::move(empty));
  }

 private:
  std::vector<ArrayPlace> places_;
  Packer packer_;
};

}  // namespace

void bind_packer(py::module_& m) {
  // Created once and never released, like exception types of modules.
  static PyObject* const bad_cell = PyErr_NewExceptionWithDoc(
      "hvdrec._native.BadCell", "A cell that can't be used; args are its row and the reason.",
      PyExc_ValueError, nullptr);
  m.add_object("BadCell", py::reinterpret_borrow<py::object>(bad_cell));
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const BadCell& cell) {
      const py::tuple arguments = py::make_tuple(cell.row, py::str(cell.what()));
      PyErr_SetObject(bad_cell, arguments.ptr());
    }
  });
  m.def(
      "fingerprint64", [](const py::bytes& text) { return Fingerprint64(std::string_view(text)); },
      py::arg("text"), "FarmHash Fingerprint64 of some bytes, as an unsigned integer.");
  py::class_<PythonPacker>(m, "Packer", "Runs a feature plan over Arrow columns.")
      .def(py::init<const py::tuple&, const py::handle&, const py::tuple&>(), py::arg("fields"),
           py::arg("spec"), py::arg("arrays"))
      .def("pack", &PythonPacker::Pack, py::arg("schema"), py::arg("array"), py::arg("collect"));
}

}  // namespace hvdrec
