#include "core/expect.h"
#include "core/validate.h"

namespace fa {

void expect_scales(const View& scales, const char* argument, std::initializer_list<int64_t> shape,
                   const char* hint) {
  expect_dtype(scales, DType::kFloat32, argument);
  View one, per_head, all;
  one.shape[one.rank++] = 1;
  for (const int64_t extent : shape) {
    if (per_head.rank < 2) per_head.shape[per_head.rank++] = extent;
    all.shape[all.rank++] = extent;
  }
  bool fits = scales.rank == all.rank;
  for (int axis = 0; fits && axis < all.rank; ++axis) fits = scales.shape[axis] == all.shape[axis];
  if (fits) return;
  std::string expected = shape_text(one) + " or " + shape_text(per_head);
  if (all.rank > 2) expected += " or " + shape_text(all);
  refuse(ErrorCode::kShape, argument, "of shape " + expected, shape_text(scales) + hint);
}

void validate_quantized(const View& plain, const Quantized& quantized, Layout layout) {
  const View& values = quantized.values;
  expect_floating(plain, "tensor");
  expect_dtype(values, DType::kFloat8E4M3, "values");
  expect_shape(values, "values", {plain.shape[0], plain.shape[1], plain.shape[2], plain.shape[3]},
               layout);
  const int64_t dim = quantized.dim();
  if (dim < 1 || dim > kMaxHeadDim)
    refuse(ErrorCode::kShape, "tensor",
           "a tensor with a head dim from 1 to " + std::to_string(kMaxHeadDim),
           shape_text(with_public_axes(plain, layout)));
  expect_scales(quantized.block_scales(), "scales",
                {quantized.batch(), quantized.heads(), quantized.blocks()});
  if (quantized.rotated && (dim & (dim - 1)) != 0)
    refuse(ErrorCode::kShape, "hadamard", "absent unless the head dim is a power of two",
           "head dim " + std::to_string(dim));
}

}  // namespace fa
