// Float variables that an op updates in place.

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

// A variable, locked for as long as this lives.
class LockedVariable {
 public:
  // Throws std::invalid_argument where input `index` is no float variable that has a value.
  LockedVariable(tensorflow::OpKernelContext* context, int index) {
    const auto status = tensorflow::LookupResource(
        context, tensorflow::HandleFromInput(context, index), &variable_);
    if (!status.ok()) throw std::invalid_argument(std::string(status.message()));
    lock_ = std::make_unique<tensorflow::mutex_lock>(*variable_->mu());
    tensorflow::Tensor* const held = variable_->tensor();
    if (!held->IsInitialized() || held->dtype() != tensorflow::DT_FLOAT) {
      throw std::invalid_argument("input " + std::to_string(index) +
                                  " is not a float variable with a value");
    }
    if (held->RefCountIsOne()) return;
    // Somebody still reads the value: they keep it, the update goes to a copy.
    tensorflow::Tensor fresh;
    const auto allocated = context->allocate_temp(held->dtype(), held->shape(), &fresh);
    if (!allocated.ok()) throw std::bad_alloc();
    std::copy_n(held->flat<float>().data(), held->NumElements(), fresh.flat<float>().data());
    *held = fresh;
  }

  float* data() { return variable_->tensor()->flat<float>().data(); }
  int64_t size() { return variable_->tensor()->NumElements(); }
  const tensorflow::TensorShape& shape() { return variable_->tensor()->shape(); }

 private:
  tensorflow::core::RefCountPtr<tensorflow::Var> variable_;
  std::unique_ptr<tensorflow::mutex_lock> lock_;
};

}  // namespace hvdrec

#endif  // HVDREC_TENSORFLOW_VARIABLE_H_
