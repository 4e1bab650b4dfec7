#include "kernels/base/huge_pages.h"
#include "tensorflow/adapter.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/variable.h"

namespace hvdrec {
namespace tf = ::tensorflow;

REGISTER_OP("HvdrecHugePages")
    .Input("variables: N * resource")
    .Output("bytes: int64")
    .Attr("N: int >= 1")
    .SetIsStateful()
    .SetShapeFn(tf::shape_inference::ScalarShape)
    .Doc(R"(
Moves the values of large variables to huge pages, as far as the system allows.

variables: Of any types.
bytes: Scalar, how much of them this applies to.
)");

class HugePagesOp final : public tf::OpKernel {
 public:
  using tf::OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    RunKernel(context, [&] {
      int64_t bytes = 0;
      for (int i = 0; i < context->num_inputs(); ++i) {
        const auto variable = FindVariable(context, i);
        const tf::mutex_lock lock(*variable->mu());
        const tf::StringPiece held = variable->tensor()->tensor_data();
        bytes += UseHugePages(held.data(), static_cast<int64_t>(held.size()));
      }
      tf::Tensor* out = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, {}, &out));
      out->scalar<int64_t>()() = bytes;
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("HvdrecHugePages").Device(tf::DEVICE_CPU), HugePagesOp);

}  // namespace hvdrec
