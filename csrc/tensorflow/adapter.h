// Adapters for all ops here: TensorFlow's threads for the kernels, and the kernels' errors for
// TensorFlow.

#ifndef HVDREC_TENSORFLOW_ADAPTER_H_
#define HVDREC_TENSORFLOW_ADAPTER_H_

#include <functional>
#include <stdexcept>
#include <utility>

#include "kernels/base/parallel.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tsl/profiler/lib/traceme.h"

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

// An op that divides its work among the device's threads itself. TensorFlow runs it on the thread
// that made it ready: waking another one takes as long as a small op does, and the two would then
// compete for cores.
class DividedOp : public tensorflow::OpKernel {
 public:
  using tensorflow::OpKernel::OpKernel;

  bool IsExpensive() override { return false; }

 protected:
  // RunKernel, recorded by the profiler, which leaves out ops that aren't expensive.
  template <typename Kernel>
  void RunTraced(tensorflow::OpKernelContext* context, const Kernel& kernel) const {
    const tsl::profiler::TraceMe activity(
        [this] { return tsl::profiler::TraceMeOp(name_view(), type_string_view()); });
    RunKernel(context, kernel);
  }
};

}  // namespace hvdrec

#endif  // HVDREC_TENSORFLOW_ADAPTER_H_
