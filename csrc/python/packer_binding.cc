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

template <typename T>
T Get(const py::dict& from, const char* key, T otherwise) {
  return from.contains(key) ? from[key].cast<T>() : otherwise;
}

FieldType ParseType(const std::string& name) {
  if (name == "STRING") return FieldType::kString;
  if (name == "INT32") return FieldType::kInt32;
  if (name == "INT64") return FieldType::kInt64;
  if (name == "FLOAT") return FieldType::kFloat;
  if (name == "DOUBLE") return FieldType::kDouble;
  if (name == "BOOL") return FieldType::kBool;
  throw std::invalid_argument("no field type is named " + name);
}

FeatureSpec ParseFeature(const py::dict& from) {
  FeatureSpec spec;
  spec.type = from["type"].cast<std::string>();
  spec.inputs = from["inputs"].cast<std::vector<int>>();
  spec.hash_buckets = Get<uint64_t>(from, "hash_buckets", 0);
  spec.num_buckets = Get<uint64_t>(from, "num_buckets", 0);
  spec.vocabulary = Get<std::vector<std::string>>(from, "vocabulary", {});
  spec.precision = Get<int>(from, "precision", -1);
  spec.separator = Get<std::string>(from, "separator", "");
  spec.kv_separator = Get<std::string>(from, "kv_separator", "");
  const auto combiner = Get<std::string>(from, "combiner", "sum");
  spec.combiner = combiner == "mean"    ? Combiner::kMean
                  : combiner == "sqrtn" ? Combiner::kSqrtN
                                        : Combiner::kSum;
  spec.dim = Get<int>(from, "dim", 1);
  spec.min = Get<double>(from, "min", 0.0);
  spec.max = Get<double>(from, "max", 0.0);
  spec.normalizer = Get<std::string>(from, "normalizer", "");
  spec.boundaries = Get<std::vector<float>>(from, "boundaries", {});
  spec.join_separator = Get<std::string>(from, "join_separator", "");
  spec.input_separators = Get<std::vector<std::string>>(from, "input_separators", {});
  return spec;
}

PackerSpec ParseSpec(const py::dict& from) {
  PackerSpec spec;
  for (const auto& item : from["fields"].cast<py::list>()) {
    const auto field = item.cast<py::dict>();
    spec.fields.push_back({field["name"].cast<std::string>(),
                           ParseType(field["dtype"].cast<std::string>()),
                           field["default"].cast<std::string>()});
  }
  for (const auto& item : from["id_features"].cast<py::list>()) {
    spec.id_features.push_back(ParseFeature(item.cast<py::dict>()));
  }
  for (const auto& item : from["number_features"].cast<py::list>()) {
    spec.number_features.push_back(ParseFeature(item.cast<py::dict>()));
  }
  for (const auto& item : from["lookups"].cast<py::list>()) {
    const auto lookup = item.cast<py::dict>();
    spec.lookups.push_back({lookup["feature"].cast<int>(), lookup["bank"].cast<int>(),
                            lookup["slot"].cast<int>(), lookup["offset"].cast<int32_t>()});
  }
  for (const auto& item : from["banks"].cast<py::list>()) {
    const auto bank = item.cast<py::dict>();
    spec.banks.push_back(
        {bank["rows"].cast<int32_t>(), bank["singles"].cast<int>(), bank["multis"].cast<int>()});
  }
  for (const auto& item : from["dense"].cast<py::list>()) {
    const auto dense = item.cast<py::dict>();
    spec.dense.push_back({dense["feature"].cast<int>(), dense["position"].cast<int>()});
  }
  spec.dense_dim = from["dense_dim"].cast<int>();
  for (const auto& item : from["labels"].cast<py::list>()) {
    const auto label = item.cast<py::dict>();
    spec.labels.push_back({label["field"].cast<int>(), label["dim"].cast<int>(),
                           label["separator"].cast<std::string>(), label["classes"].cast<int>(),
                           label["low"].cast<float>(), label["high"].cast<float>(),
                           label["range"].cast<std::string>()});
  }
  spec.weight_field = from["weight_field"].cast<int>();
  spec.id_fields = from["id_fields"].cast<std::vector<int>>();
  return spec;
}

template <typename T>
py::array Matrix(Array<T> values, py::ssize_t rows, py::ssize_t columns) {
  return Adopt(std::move(values)).reshape(std::vector<py::ssize_t>{rows, columns});
}

py::dict Arrays(const PackerSpec& spec, Packed packed) {
  py::dict out;
  if (spec.dense_dim > 0) {
    out["dense"] = Matrix(std::move(packed.dense), packed.rows, spec.dense_dim);
  }
  for (size_t b = 0; b < packed.banks.size(); ++b) {
    const std::string prefix = "bank" + std::to_string(b) + "/";
    PackedBank& bank = packed.banks[b];
    out[py::str(prefix + "rows")] = Adopt(std::move(bank.rows));
    if (spec.banks[b].singles > 0) {
      out[py::str(prefix + "index")] =
          Matrix(std::move(bank.index), packed.rows, spec.banks[b].singles);
    }
    if (spec.banks[b].multis > 0) {
      out[py::str(prefix + "multi_index")] = Adopt(std::move(bank.multi_index));
      out[py::str(prefix + "multi_segment")] = Adopt(std::move(bank.multi_segment));
      out[py::str(prefix + "multi_weight")] = Adopt(std::move(bank.multi_weight));
    }
  }
  return out;
}

// The packer as Python sees it; hvdrec/features/packer.py is its face.
class PythonPacker {
 public:
  explicit PythonPacker(const py::dict& spec) : spec_(ParseSpec(spec)), packer_(spec_) {}

  // Packs the struct array behind the two capsules of `__arrow_c_array__`.
  //
  // Gives (rows, arrays, labels, weight or None, ids, None), or with bad rows and `collect`
  // (rows, None, None, None, None, (uint8 [rows], row, text)). A bad cell without `collect` is
  // raised as BadCell(row, text).
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
          rows, py::none(), py::none(), py::none(), py::none(),
          py::make_tuple(Adopt(std::move(packed.bad)), packed.first_bad_row, packed.first_bad));
    }
    py::list labels, ids;
    for (size_t i = 0; i < packed.labels.size(); ++i) {
      const int dim = spec_.labels[i].dim;
      py::array values = Adopt(std::move(packed.labels[i]));
      labels.append(dim > 1 ? values.reshape(std::vector<py::ssize_t>{rows, dim}) : values);
    }
    for (auto& values : packed.ids) ids.append(Adopt(std::move(values)));
    py::object weight = py::none();
    if (spec_.weight_field >= 0) weight = Adopt(std::move(packed.weight));
    return py::make_tuple(rows, Arrays(spec_, std::move(packed)), labels, weight, ids, py::none());
  }

 private:
  const PackerSpec spec_;
  Packer packer_;
};

}  // namespace

void bind_packer(py::module_& m) {
  // Made once and never released, as exception types of modules are.
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
      .def(py::init<const py::dict&>(), py::arg("spec"))
      .def("pack", &PythonPacker::Pack, py::arg("schema"), py::arg("array"), py::arg("collect"));
}

}  // namespace hvdrec
