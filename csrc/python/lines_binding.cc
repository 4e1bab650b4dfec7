#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/rows/lines.h"
#include "kernels/rows/shuffle.h"
#include "python/adopt.h"
#include "python/row_refs.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

std::unique_ptr<LineBlock> ScanBlock(const py::buffer& buffer, size_t begin, size_t end, bool last,
                                     int32_t file, int64_t first_line) {
  const py::buffer_info info = buffer.request();
  const size_t size = static_cast<size_t>(info.size * info.itemsize);
  if (begin > end || size < end + kLinePadding) {
    throw std::invalid_argument("the buffer needs 32 spare bytes after the text");
  }
  py::gil_scoped_release release;
  return std::make_unique<LineBlock>(static_cast<const char*>(info.ptr), begin, end, last, file,
                                     first_line);
}

std::unique_ptr<LineBlock> GatherBlock(const std::vector<const LineBlock*>& blocks,
                                       const Numbers& block, const Numbers& index) {
  CheckRows(blocks, block, index);
  py::gil_scoped_release release;
  return std::make_unique<LineBlock>(blocks, block.data(), index.data(), block.size());
}

py::tuple Split(const LineSplitter& splitter, const std::vector<const LineBlock*>& blocks,
                const Numbers& block, const Numbers& index) {
  CheckRows(blocks, block, index);
  SplitRows rows;
  {
    py::gil_scoped_release release;
    rows = splitter.Split(blocks, block.data(), index.data(), block.size());
  }
  const size_t fields = rows.starts.size() - 1;
  const size_t bytes = rows.starts.back();
  py::list bad;
  for (const BadRow& row : rows.bad) {
    bad.append(py::make_tuple(row.position, row.columns, row.file, row.line, row.nested));
  }
  int32_t* const offsets = rows.offsets.get();
  char* const data = rows.data.get();
  return py::make_tuple(rows.rows,
                        Adopt(offsets, fields * (rows.rows + 1), std::move(rows.offsets)),
                        Adopt(reinterpret_cast<uint8_t*>(data), bytes, std::move(rows.data)),
                        Adopt(std::move(rows.starts)), Adopt(std::move(rows.files)),
                        Adopt(std::move(rows.lines)), std::move(bad));
}

py::object Cells(const LineSplitter& splitter, const py::bytes& line) {
  bool ok = false;
  py::list cells;
  for (const std::string& cell : splitter.Cells(std::string_view(line), &ok)) {
    cells.append(py::bytes(cell));
  }
  if (!ok) return py::none();
  return std::move(cells);
}

py::array_t<int64_t> Take(ShuffleOrder& order, size_t count, int64_t arrived, bool closed) {
  std::vector<int64_t> rows(count);
  {
    py::gil_scoped_release release;
    rows.resize(order.Take(count, arrived, closed, rows.data()));
  }
  return Adopt(std::move(rows));
}

}  // namespace

void bind_lines(py::module_& m) {
  m.attr("LINE_PADDING") = kLinePadding;
  py::class_<LineBlock>(m, "LineBlock",
                        "The rows of a stretch of text; see csrc/kernels/rows/lines.h.")
      .def(py::init(&ScanBlock), py::arg("text"), py::arg("begin"), py::arg("end"), py::arg("last"),
           py::arg("file"), py::arg("first_line"), py::keep_alive<1, 2>())
      .def_static("gather", &GatherBlock, py::arg("blocks"), py::arg("block"), py::arg("index"))
      .def_property_readonly("rows", &LineBlock::rows)
      .def_property_readonly("consumed", &LineBlock::consumed)
      .def_property_readonly("lines", &LineBlock::lines)
      .def_property_readonly("bytes", &LineBlock::bytes);
  py::class_<LineSplitter>(m, "LineSplitter",
                           "Splits rows into columns; see csrc/kernels/rows/lines.h.")
      .def(py::init([](const py::bytes& separator, bool quoting, size_t fields) {
             return std::make_unique<LineSplitter>(std::string(separator), quoting, fields);
           }),
           py::arg("separator"), py::arg("quoting"), py::arg("fields"))
      .def(
          "set_layout",
          [](LineSplitter& splitter, int32_t file, const std::vector<int32_t>& columns,
             int32_t width) { splitter.SetLayout(file, columns, width); },
          py::arg("file"), py::arg("columns"), py::arg("width"))
      .def(
          "set_nested_layout",
          [](LineSplitter& splitter, int32_t file, const std::vector<int32_t>& columns,
             int32_t width, int32_t column, const py::bytes& separator,
             const std::vector<int32_t>& parts, int32_t inner_width) {
            splitter.SetNestedLayout(file, columns, width, column, std::string(separator), parts,
                                     inner_width);
          },
          py::arg("file"), py::arg("columns"), py::arg("width"), py::arg("column"),
          py::arg("separator"), py::arg("parts"), py::arg("inner_width"))
      .def("width", &LineSplitter::width, py::arg("file"))
      .def("inner_width", &LineSplitter::inner_width, py::arg("file"))
      .def("cells", &Cells, py::arg("line"))
      .def("split", &Split, py::arg("blocks"), py::arg("block"), py::arg("index"));
  py::class_<ShuffleOrder>(m, "ShuffleOrder", "A shuffle buffer; see csrc/kernels/rows/shuffle.h.")
      .def(py::init<uint64_t, size_t>(), py::arg("seed"), py::arg("size"))
      .def("take", &Take, py::arg("count"), py::arg("arrived"), py::arg("closed"))
      .def("waiting", [](const ShuffleOrder& order) { return Adopt(std::vector(order.waiting())); })
      .def_property_readonly("next", &ShuffleOrder::next);
}

}  // namespace hvdrec
