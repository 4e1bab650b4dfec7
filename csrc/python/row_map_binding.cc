#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels/features/row_map.h"
#include "python/adopt.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

template <typename T>
using Input = py::array_t<T, py::array::c_style>;

void RequireSize(py::ssize_t found, py::ssize_t needed) {
  if (found != needed) throw std::invalid_argument("arrays of different lengths");
}

// `rules`: for each table (filter_freq, steps_to_live, first_row, initial_rows).
RowMap Make(const py::sequence& rules, int32_t first_row) {
  std::vector<TableRules> tables;
  for (const py::handle each : rules) {
    const auto of = each.cast<py::tuple>();
    tables.push_back({of[0].cast<int64_t>(), of[1].cast<int64_t>(), of[2].cast<int32_t>(),
                      of[3].cast<int32_t>()});
  }
  return RowMap(std::move(tables), first_row);
}

void See(RowMap* map, const Input<int32_t>& tables, const Input<int64_t>& keys,
         const Input<int32_t>& counts, int64_t step) {
  RequireSize(tables.size(), keys.size());
  RequireSize(counts.size(), keys.size());
  map->See(tables.data(), keys.data(), counts.data(), static_cast<size_t>(keys.size()), step);
}

py::array Rows(const RowMap& map, const Input<int32_t>& tables, const Input<int64_t>& keys,
               int64_t step, bool initial) {
  RequireSize(tables.size(), keys.size());
  Array<int32_t> rows(static_cast<size_t>(keys.size()));
  map.Rows(tables.data(), keys.data(), rows.size(), step, initial, rows.data());
  return Adopt(std::move(rows));
}

py::tuple TakeGiven(RowMap* map) {
  Array<int32_t> rows, initial;
  map->TakeGiven(&rows, &initial);
  return py::make_tuple(Adopt(std::move(rows)), Adopt(std::move(initial)));
}

py::tuple Contents(const RowMap& map, int32_t table, int64_t step, bool with_row) {
  TableIds ids = map.Contents(table, step, with_row);
  return py::make_tuple(Adopt(std::move(ids.keys)), Adopt(std::move(ids.freqs)),
                        Adopt(std::move(ids.steps)), Adopt(std::move(ids.rows)));
}

void Put(RowMap* map, int32_t table, const Input<int64_t>& keys, const Input<int64_t>& freqs,
         const Input<int64_t>& steps, bool with_row) {
  RequireSize(freqs.size(), keys.size());
  RequireSize(steps.size(), keys.size());
  map->Put(table, keys.data(), freqs.data(), steps.data(), static_cast<size_t>(keys.size()),
           with_row);
}

}  // namespace

void bind_row_map(py::module_& m) {
  py::class_<RowMap>(m, "RowMap", "Ids of tables without a fixed size, and their rows.")
      .def(py::init(&Make), py::arg("rules"), py::arg("first_row"))
      .def("see", &See, py::arg("tables"), py::arg("keys"), py::arg("counts"), py::arg("step"))
      .def("rows", &Rows, py::arg("tables"), py::arg("keys"), py::arg("step"), py::arg("initial"))
      .def("take_given", &TakeGiven)
      .def("evict", &RowMap::Evict, py::arg("step"))
      .def("contents", &Contents, py::arg("table"), py::arg("step"), py::arg("with_row"))
      .def("clear", &RowMap::Clear, py::arg("table"))
      .def("put", &Put, py::arg("table"), py::arg("keys"), py::arg("freqs"), py::arg("steps"),
           py::arg("with_row"))
      .def("dump", [](const RowMap& map) { return py::bytes(map.Dump()); })
      .def(
          "load", [](RowMap* map, const py::bytes& bytes) { map->Load(std::string_view(bytes)); },
          py::arg("bytes"))
      .def_property_readonly("end", &RowMap::end)
      .def_property_readonly("bytes", &RowMap::bytes)
      .def("__len__", &RowMap::size);
}

}  // namespace hvdrec
