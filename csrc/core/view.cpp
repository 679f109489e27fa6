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

bool disjoint_elements(const View& view) {
  if (view.size() == 0) return true;
  bool done[kMaxRank] = {};
  int64_t extent = 1;  // of the axes so far, from their first element to behind their last one
  for (int count = 0; count < view.rank; ++count) {
    int next = -1;  // the axis of the smallest stride
    for (int axis = 0; axis < view.rank; ++axis)
      if (!done[axis] && (next < 0 || view.strides[axis] < view.strides[next])) next = axis;
    done[next] = true;
    if (view.shape[next] == 1) continue;
    if (view.strides[next] < extent) return false;
    extent += (view.shape[next] - 1) * view.strides[next];
  }
  return true;
}

bool ranges_overlap(const View& a, const View& b) {
  const auto end = [](const View& view) {
    int64_t last = 0;
    for (int axis = 0; axis < view.rank; ++axis)
      last += (view.shape[axis] - 1) * view.strides[axis];
    return view.at(last + 1);
  };
  if (a.size() == 0 || b.size() == 0) return false;
  return a.at(0) < end(b) && b.at(0) < end(a);
}

}  // namespace fa
