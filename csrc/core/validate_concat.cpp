#include "core/expect.h"
#include "core/validate.h"

namespace fa {

void validate_concat(const std::vector<View>& tensors, int64_t axis) {
  if (tensors.empty()) refuse(ErrorCode::kShape, "tensors", "at least one tensor", "none");
  const View& first = tensors[0];
  if (axis < 0 || axis >= first.rank) {
    refuse(ErrorCode::kOption, "axis", "an integer from 0 to " + std::to_string(first.rank - 1),
           std::to_string(axis));
  }
  for (size_t i = 1; i < tensors.size(); ++i) {
    const View& view = tensors[i];
    const std::string member = "tensors[" + std::to_string(i) + "]";
    if (view.dtype != first.dtype) {
      const std::string expected =
          std::string(dtype_name(first.dtype)) + ", like the first tensor,";
      refuse(ErrorCode::kDType, member.c_str(), expected, dtype_name(view.dtype));
    }
    bool fits = view.rank == first.rank;
    for (int other = 0; fits && other < first.rank; ++other) {
      fits = other == axis || view.shape[other] == first.shape[other];
    }
    if (!fits) {
      const std::string expected = "of shape " + shape_text(first) + " but for axis " +
                                   std::to_string(axis) + ", like the first tensor,";
      refuse(ErrorCode::kShape, member.c_str(), expected, shape_text(view));
    }
  }
}

}  // namespace fa
