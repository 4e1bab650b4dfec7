// Columns of numbers from Python, checked.

#ifndef HVDREC_PYTHON_COLUMN_H_
#define HVDREC_PYTHON_COLUMN_H_

#include <pybind11/numpy.h>

#include <stdexcept>
#include <string>

namespace hvdrec {

// The numbers of a contiguous array of type T and shape [rows].
template <typename T>
const T* ColumnData(const char* name, const pybind11::array& array, pybind11::ssize_t rows) {
  namespace py = pybind11;
  if (!py::isinstance<py::array_t<T>>(array)) {
    throw py::type_error(std::string(name) + " must be of type " +
                         std::string(py::str(py::dtype::of<T>())) + ", not " +
                         std::string(py::str(array.dtype())));
  }
  if (array.ndim() != 1 || array.shape(0) != rows) {
    throw std::invalid_argument(std::string(name) + " must have the shape (" +
                                std::to_string(rows) + ",)");
  }
  if (!(array.flags() & py::array::c_style)) {
    throw std::invalid_argument(std::string(name) + " must be contiguous");
  }
  return static_cast<const T*>(array.data());
}

}  // namespace hvdrec

#endif  // HVDREC_PYTHON_COLUMN_H_
