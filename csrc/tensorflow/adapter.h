// Adapters for all ops here: TensorFlow's threads for the kernels, and the kernels' errors for
// TensorFlow.

#ifndef HVDREC_TENSORFLOW_ADAPTER_H_
#define HVDREC_TENSORFLOW_ADAPTER_H_

#include <functional>
#include <stdexcept>
#include <utility>

#include "kernels/base/parallel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace hvdrec {

// The threads of the device that an op runs on.
class DeviceThreads final : public Parallel {
 public:
  explicit DeviceThreads(tensorflow::OpKernelContext* context)
      : Parallel(context->device()->tensorflow_cpu_worker_threads()->num_threads),
        workers_(context->device()->tensorflow_cpu_worker_threads()->workers) {}

 private:
  void Schedule(std::function<void()> task) const override { workers_->Schedule(std::move(task)); }

  tensorflow::thread::ThreadPool* const workers_;
};

// Runs a kernel; its exceptions become the op's error.
template <typename Kernel>
void RunKernel(tensorflow::OpKernelContext* context, const Kernel& kernel) {
  try {
    kernel();
  } catch (const std::invalid_argument& error) {
    context->CtxFailure(tensorflow::errors::InvalidArgument(error.what()));
  } catch (const std::bad_alloc&) {
    context->CtxFailure(tensorflow::errors::ResourceExhausted("out of memory"));
  } catch (const std::exception& error) {
    context->CtxFailure(tensorflow::errors::Internal(error.what()));
  }
}

}  // namespace hvdrec

#endif  // HVDREC_TENSORFLOW_ADAPTER_H_
