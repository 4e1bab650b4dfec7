// Variables that an op reads or updates in place.

#ifndef HVDREC_TENSORFLOW_VARIABLE_H_
#define HVDREC_TENSORFLOW_VARIABLE_H_

#include <algorithm>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"

namespace hvdrec {

// The variable of input `index`. Throws std::invalid_argument where that is none.
inline tensorflow::core::RefCountPtr<tensorflow::Var> FindVariable(
    tensorflow::OpKernelContext* context, int index) {
  tensorflow::core::RefCountPtr<tensorflow::Var> found;
  const auto status =
      tensorflow::LookupResource(context, tensorflow::HandleFromInput(context, index), &found);
  if (!status.ok()) throw std::invalid_argument(std::string(status.message()));
  return found;
}

// Throws std::invalid_argument where `held`, of input `index`, is no value of T's type.
template <typename T>
void RequireType(const tensorflow::Tensor& held, int index) {
  constexpr auto kType = tensorflow::DataTypeToEnum<T>::value;
  if (!held.IsInitialized() || held.dtype() != kType) {
    throw std::invalid_argument("input " + std::to_string(index) + " is not a " +
                                tensorflow::DataTypeString(kType) + " variable with a value");
  }
}

// A variable, locked for as long as this lives. An op that locks several does so in the order of
// its inputs, which is that of every op that has the same variables.
template <typename T = float>
class LockedVariable {
 public:
  // Throws std::invalid_argument where input `index` is no variable of T that has a value. `kept`
  // is what `Keep` returned at an earlier time, and is released.
  LockedVariable(tensorflow::OpKernelContext* context, int index,
                 tensorflow::Tensor kept = tensorflow::Tensor())
      : variable_(FindVariable(context, index)) {
    lock_ = std::make_unique<tensorflow::mutex_lock>(*variable_->mu());
    tensorflow::Tensor* const held = variable_->tensor();
    RequireType<T>(*held, index);
    is_kept_ = kept.IsInitialized() && kept.tensor_data().data() == held->tensor_data().data() &&
               kept.NumElements() == held->NumElements();
    kept = tensorflow::Tensor();
    if (held->RefCountIsOne()) return;
    // Somebody still reads the value: they keep it, the update goes to a copy.
    tensorflow::Tensor fresh;
    const auto allocated = context->allocate_temp(held->dtype(), held->shape(), &fresh);
    if (!allocated.ok()) throw std::bad_alloc();
    std::copy_n(held->flat<T>().data(), held->NumElements(), fresh.flat<T>().data());
    *held = fresh;
  }

  T* data() { return variable_->tensor()->template flat<T>().data(); }
  int64_t size() const { return variable_->tensor()->NumElements(); }
  const tensorflow::TensorShape& shape() const { return variable_->tensor()->shape(); }

  // Returns the value, by which a later LockedVariable tells whether the variable has been written
  // since: whoever writes while somebody else has the value gives the variable other memory, and
  // this isn't reused as long as the value is kept. The result is empty where that isn't so.
  tensorflow::Tensor Keep() const {
    return variable_->copy_on_read_mode.load() ? tensorflow::Tensor() : *variable_->tensor();
  }
  // Whether nobody has written the variable since `Keep`.
  bool is_kept() const { return is_kept_; }

 private:
  tensorflow::core::RefCountPtr<tensorflow::Var> variable_;
  std::unique_ptr<tensorflow::mutex_lock> lock_;
  bool is_kept_ = false;
};

// Prevents changes of a variable during the lifetime of this object; others may read it.
template <typename T = float>
class SharedVariable {
 public:
  // Throws std::invalid_argument where input `index` is no variable of T that has a value.
  SharedVariable(tensorflow::OpKernelContext* context, int index)
      : variable_(FindVariable(context, index)) {
    lock_ = std::make_unique<tensorflow::tf_shared_lock>(*variable_->mu());
    RequireType<T>(*variable_->tensor(), index);
  }

  const T* data() const { return variable_->tensor()->template flat<T>().data(); }
  int64_t size() const { return variable_->tensor()->NumElements(); }
  const tensorflow::TensorShape& shape() const { return variable_->tensor()->shape(); }

 private:
  tensorflow::core::RefCountPtr<tensorflow::Var> variable_;
  std::unique_ptr<tensorflow::tf_shared_lock> lock_;
};

}  // namespace hvdrec

#endif  // HVDREC_TENSORFLOW_VARIABLE_H_
