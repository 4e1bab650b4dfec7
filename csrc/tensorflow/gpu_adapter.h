// The GPU that an op runs on, for the kernels.

#ifndef HVDREC_TENSORFLOW_GPU_ADAPTER_H_
#define HVDREC_TENSORFLOW_GPU_ADAPTER_H_

#include <algorithm>
#include <new>
#include <vector>

#include "kernels/gpu/gpu.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace hvdrec {

// Scratch from TensorFlow's allocator. It reuses memory in the order of the stream, so memory that
// is released when the op returns stays valid for the work that the op has put on the stream.
class OpScratch final : public GpuScratch {
 public:
  explicit OpScratch(tensorflow::OpKernelContext* context) : context_(context) {}

  void* Allocate(size_t bytes) override {
    tensorflow::Tensor memory;
    const tensorflow::TensorShape shape({static_cast<int64_t>(std::max<size_t>(bytes, 1))});
    if (!context_->allocate_temp(tensorflow::DT_UINT8, shape, &memory).ok()) throw std::bad_alloc();
    held_.push_back(memory);
    return held_.back().data();
  }

 private:
  tensorflow::OpKernelContext* const context_;
  std::vector<tensorflow::Tensor> held_;
};

// The stream of the device that an op runs on.
class DeviceGpu final : public Gpu {
 public:
  explicit DeviceGpu(tensorflow::OpKernelContext* context)
      : Gpu{static_cast<CUstream_st*>(
                context->op_device_context()->stream()->platform_specific_handle().stream),
            &scratch_},
        scratch_(context) {}
  DeviceGpu(const DeviceGpu&) = delete;
  DeviceGpu& operator=(const DeviceGpu&) = delete;

 private:
  OpScratch scratch_;
};

}  // namespace hvdrec

#endif  // HVDREC_TENSORFLOW_GPU_ADAPTER_H_
