#include "binding/shapes.h"

#include <algorithm>
#include <string>

namespace fa::binding {

namespace {

std::string text(const Sizes& shape) {
  View view;
  view.rank = shape.rank;
  std::copy_n(shape.values, shape.rank, view.shape);
  return shape_text(view);
}

/**
 * Elements from the first to behind the last one; an axis of length 0 counts as one of length 1.
 */
int64_t extent(const Sizes& shape, const Sizes& strides) {
  int64_t last = 0;
  for (int i = 0; i < shape.rank; ++i) {
    const int64_t steps = std::max<int64_t>(shape.values[i], 1) - 1;
    int64_t distance = 0;
    if (__builtin_mul_overflow(steps, strides.values[i], &distance) ||
        __builtin_add_overflow(last, distance, &last) || last >= kMaxSafeInteger) {
      refuse(ErrorCode::kShape, "strides", "strides that reach less than 2^53 elements",
             text(strides) + " with shape " + text(shape));
    }
  }
  return last + 1;
}

}  // namespace

size_t byte_size(DType dtype, const Sizes& shape, const char* argument, ErrorCode code) {
  int64_t bytes = static_cast<int64_t>(dtype_size(dtype));
  bool empty = false;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape.values[i] == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bytes, shape.values[i], &bytes) || bytes > kMaxSafeInteger) {
      refuse(code, argument, "a shape of at most 2^53 bytes", text(shape));
    }
  }
  return empty ? 0 : static_cast<size_t>(bytes);
}

Sizes shape_of(const View& view) {
  Sizes shape;
  shape.rank = view.rank;
  std::copy_n(view.shape, view.rank, shape.values);
  return shape;
}

View row_major(void* data, DType dtype, const Sizes& shape) {
  View view;
  view.data = data;
  view.dtype = dtype;
  view.rank = shape.rank;
  int64_t stride = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    view.shape[i] = shape.values[i];
    view.strides[i] = stride;
    stride *= shape.values[i];
  }
  return view;
}

int64_t byte_offset(const Storage& storage, const View& view) {
  if (storage.bytes() == 0) return 0;
  return static_cast<char*>(view.data) - static_cast<char*>(storage.data());
}

View strided(const Storage& storage, const View& base, const Sizes& shape, const Sizes& strides,
             int64_t offset) {
  if (strides.rank != shape.rank) {
    refuse(ErrorCode::kShape, "strides", "as many strides as axes, " + std::to_string(shape.rank),
           std::to_string(strides.rank));
  }
  const bool empty = byte_size(base.dtype, shape, "shape", ErrorCode::kShape) == 0;
  const int64_t needed = extent(shape, strides);
  const int64_t element = static_cast<int64_t>(dtype_size(base.dtype));
  const int64_t available =
      (static_cast<int64_t>(storage.bytes()) - byte_offset(storage, base)) / element;
  if (!empty && (offset > available || needed > available - offset)) {
    refuse(
        ErrorCode::kShape, "shape",
        "a view within the " + std::to_string(available) + " elements from the tensor's first on",
        "shape " + text(shape) + ", strides " + text(strides) + ", offset " +
            std::to_string(offset));
  }
  View view;
  view.data = empty ? base.data : base.at(offset);  // an empty view may "start" behind the end
  view.dtype = base.dtype;
  view.rank = shape.rank;
  std::copy_n(shape.values, shape.rank, view.shape);
  std::copy_n(strides.values, strides.rank, view.strides);
  return view;
}

}  // namespace fa::binding
