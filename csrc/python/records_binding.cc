#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/rows/crc32c.h"
#include "kernels/rows/records.h"
#include "python/adopt.h"
#include "python/row_refs.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

std::unique_ptr<RecordBlock> ScanBlock(const py::buffer& buffer, size_t begin, size_t end,
                                       bool last, int32_t file, int64_t first_row, bool sequences) {
  const py::buffer_info info = buffer.request();
  if (begin > end || static_cast<size_t>(info.size * info.itemsize) < end) {
    throw std::invalid_argument("the buffer is shorter than that");
  }
  const py::gil_scoped_release release;
  return std::make_unique<RecordBlock>(static_cast<const char*>(info.ptr), begin, end, last, file,
                                       first_row, sequences);
}

std::unique_ptr<RecordBlock> GatherBlock(const std::vector<const RecordBlock*>& blocks,
                                         const Numbers& block, const Numbers& index) {
  CheckRows(blocks, block, index);
  const py::gil_scoped_release release;
  return std::make_unique<RecordBlock>(blocks, block.data(), index.data(), block.size());
}

const char* FaultName(const RecordBlock& block) {
  switch (block.fault()) {
    case RecordBlock::Fault::kLength:
      return "length";
    case RecordBlock::Fault::kCut:
      return "cut";
    default:
      return "";
  }
}

// (kind, values, offsets, starts, valid): missing parts of a column are None.
py::tuple TakeColumn(ExampleColumn column) {
  const auto given = [](auto values) -> py::object {
    return values.empty() ? py::object(py::none()) : py::object(Adopt(std::move(values)));
  };
  py::object starts = given(std::move(column.starts));
  py::object valid = given(std::move(column.valid));
  switch (column.kind) {
    case ExampleColumn::Kind::kIntegers:
      return py::make_tuple("integers", Adopt(std::move(column.integers)), py::none(), starts,
                            valid);
    case ExampleColumn::Kind::kNumbers:
      return py::make_tuple("numbers", Adopt(std::move(column.numbers)), py::none(), starts, valid);
    default:
      return py::make_tuple("texts", Adopt(std::move(column.text)),
                            Adopt(std::move(column.offsets)), starts, valid);
  }
}

// Returns (rows, columns, files, lines, bad), bad as (position, file, line, text).
py::tuple Parse(const std::vector<std::pair<std::string, int32_t>>& fields,
                const std::vector<const RecordBlock*>& blocks, const Numbers& block,
                const Numbers& index) {
  CheckRows(blocks, block, index);
  std::vector<ExampleField> wanted;
  for (const auto& [name, width] : fields) wanted.push_back({name, width});
  ExampleRows rows;
  {
    const py::gil_scoped_release release;
    rows = ParseExamples(wanted, blocks, block.data(), index.data(), block.size());
  }
  py::list columns, bad;
  for (ExampleColumn& column : rows.columns) columns.append(TakeColumn(std::move(column)));
  for (const BadExample& row : rows.bad) {
    bad.append(py::make_tuple(row.position, row.file, row.line, row.text));
  }
  return py::make_tuple(rows.rows, columns, Adopt(std::move(rows.files)),
                        Adopt(std::move(rows.lines)), bad);
}

}  // namespace

void bind_records(py::module_& m) {
  m.def(
      "masked_crc32c",
      [](const py::buffer& data) {
        const py::buffer_info view = data.request();
        if (view.ndim != 1 || view.strides[0] != view.itemsize) {
          throw py::value_error("the bytes should lie one behind the other");
        }
        return MaskedCrc32c(static_cast<const char*>(view.ptr), view.size * view.itemsize);
      },
      py::arg("data"), "The checksum of some bytes as TFRecord files have it.");
  py::class_<RecordBlock>(m, "RecordBlock",
                          "The records of a stretch of a file; see csrc/kernels/rows/records.h.")
      .def(py::init(&ScanBlock), py::arg("data"), py::arg("begin"), py::arg("end"), py::arg("last"),
           py::arg("file"), py::arg("first_row"), py::arg("sequences"), py::keep_alive<1, 2>())
      .def_static("gather", &GatherBlock, py::arg("blocks"), py::arg("block"), py::arg("index"))
      .def_property_readonly("rows", &RecordBlock::rows)
      .def_property_readonly("consumed", &RecordBlock::consumed)
      .def_property_readonly("bytes", &RecordBlock::bytes)
      .def_property_readonly("fault", &FaultName);
  m.def("parse_examples", &Parse, py::arg("fields"), py::arg("blocks"), py::arg("block"),
        py::arg("index"), "Columns of some rows; see csrc/kernels/rows/records.h.");
}

}  // namespace hvdrec
