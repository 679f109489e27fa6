#include "core/expect.h"
#include "core/validate.h"

namespace fa {

namespace {

/** "`outs[2]`": which of the tensors of a list. */
std::string member(const char* list, size_t index) {
  return quoted(list + ("[" + std::to_string(index) + "]"));
}

[[noreturn]] void refuse_member(ErrorCode code, const char* list, size_t index,
                                const std::string& expected, const std::string& received) {
  refuse_call(code, list, member(list, index) + " to be " + expected, received);
}

bool same_shape(const View& a, const View& b) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis)
    if (a.shape[axis] != b.shape[axis]) return false;
  return true;
}

void expect_member(const View& view, DType dtype, const View& shape, const char* list, size_t index,
                   const std::string& meaning) {
  if (view.dtype != dtype)
    refuse_member(ErrorCode::kDType, list, index, dtype_name(dtype), dtype_name(view.dtype));
  if (!same_shape(view, shape))
    refuse_member(ErrorCode::kShape, list, index, "of shape " + shape_text(shape) + meaning,
                  shape_text(view));
}

}  // namespace

void validate_merge(const std::vector<View>& outs, const std::vector<View>& lses, Layout layout) {
  if (outs.empty()) refuse(ErrorCode::kShape, "outs", "at least one state", "none");
  if (lses.size() != outs.size())
    refuse(ErrorCode::kShape, "lses", "as many as `outs`, " + std::to_string(outs.size()) + ",",
           std::to_string(lses.size()));
  const View& first = outs[0];
  if (!is_floating(first.dtype))
    refuse_member(ErrorCode::kDType, "outs", 0, "one of float32, float16, bfloat16",
                  dtype_name(first.dtype));
  if (first.rank != 4)
    refuse_member(ErrorCode::kShape, "outs", 0, "of rank 4", "shape " + shape_text(first));
  const View axes = logical(first, layout);
  View lse;
  lse.rank = 3;
  lse.shape[0] = axes.shape[0];
  lse.shape[1] = axes.shape[2];
  lse.shape[2] = axes.shape[1];
  for (size_t i = 0; i < outs.size(); ++i) {
    expect_member(outs[i], first.dtype, first, "outs", i, ", the shape of the first out,");
    expect_member(lses[i], DType::kFloat32, lse, "lses", i, ", [batch, heads, seqlenQ],");
  }
}

}  // namespace fa
