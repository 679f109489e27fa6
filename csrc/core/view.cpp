#include "core/view.h"

#include <initializer_list>

namespace fa {

std::string shape_text(const View& view) {
  std::string text = "[";
  for (int i = 0; i < view.rank; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(view.shape[i]);
  }
  return text + "]";
}

View contiguous_view(void* data, DType dtype, std::initializer_list<int64_t> shape) {
  View view;
  view.data = data;
  view.dtype = dtype;
  for (int64_t extent : shape) view.shape[view.rank++] = extent;
  int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    view.strides[i] = stride;
    stride *= view.shape[i];
  }
  return view;
}

View contiguous_like(const View& view, DType dtype, void* data) {
  View result = view;
  result.dtype = dtype;
  result.data = data;
  int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    result.strides[i] = stride;
    stride *= view.shape[i];
  }
  return result;
}

View permuted(const View& view, std::initializer_list<int> axes) {
  View result = view;
  int i = 0;
  for (int axis : axes) {
    result.shape[i] = view.shape[axis];
    result.strides[i] = view.strides[axis];
    ++i;
  }
  return result;
}

}  // namespace fa
