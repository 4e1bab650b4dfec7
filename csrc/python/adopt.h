// Hands C++ memory over to numpy without copying it.

#ifndef HVDREC_PYTHON_ADOPT_H_
#define HVDREC_PYTHON_ADOPT_H_

#include <pybind11/numpy.h>

#include <utility>
#include <vector>

namespace hvdrec {

// A numpy array over memory that it then owns.
template <typename T, typename Owner>
pybind11::array_t<T> Adopt(T* data, size_t size, Owner owner) {
  pybind11::capsule base(new Owner(std::move(owner)),
                         [](void* p) { delete static_cast<Owner*>(p); });
  return pybind11::array_t<T>(static_cast<pybind11::ssize_t>(size), data, base);
}

template <typename T, typename Allocator>
pybind11::array_t<T> Adopt(std::vector<T, Allocator> values) {
  T* const data = values.data();
  const size_t size = values.size();
  return Adopt(data, size, std::move(values));
}

}  // namespace hvdrec

#endif  // HVDREC_PYTHON_ADOPT_H_
