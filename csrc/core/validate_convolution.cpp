#include <string>

#include "core/expect.h"
#include "core/validate.h"

namespace fa {

void validate(const Convolution& c, Layout layout) {
  expect_floating(c.x, "x");
  if (c.heads() < 1 || c.dim() < 1 || c.dim() > kMaxHeadDim)
    refuse(
        ErrorCode::kShape, "x",
        "a tensor with at least one head and a head dim from 1 to " + std::to_string(kMaxHeadDim),
        shape_text(with_public_axes(c.x, layout)));
  expect_floating(c.weights, "weights");
  expect_shape(c.weights, "weights", {c.batch(), c.seqlen(), c.heads(), "kernelSize"}, layout,
               " or [heads, kernelSize]");
  if (c.kernel_size() < 1 || c.kernel_size() > kMaxKernelSize)
    refuse(ErrorCode::kShape, "weights",
           "of a kernel size from 1 to " + std::to_string(kMaxKernelSize),
           std::to_string(c.kernel_size()));
  if (!c.state.present()) return;
  if (c.state.dtype != c.x.dtype)
    refuse(ErrorCode::kDType, "state", std::string(dtype_name(c.x.dtype)) + ", the dtype of `x`,",
           dtype_name(c.state.dtype));
  expect_shape(c.state, "state", {c.batch(), c.kernel_size() - 1, c.heads(), c.dim()}, layout,
               ", the kernelSize - 1 inputs before `x`,");
}

}  // namespace fa
