#include "core/layout.h"

#include <algorithm>

namespace fa {

View logical(const View& view, Layout layout) {
  switch (layout) {
    case Layout::kBshd: return view;
    case Layout::kBhsd: return permuted(view, {0, 2, 1, 3});
    case Layout::kPacked: return with_leading_axis(view);
  }
  return view;
}

View with_public_axes(const View& view, Layout layout) {
  // Exchanging two axes is its own inverse.
  return layout == Layout::kPacked ? without_leading_axis(view) : logical(view, layout);
}

View logical_lse(const View& view, Layout layout) {
  return layout == Layout::kPacked ? with_leading_axis(view) : view;
}

View with_leading_axis(const View& view) {
  View result = view;
  std::copy_n(view.shape, view.rank, result.shape + 1);
  std::copy_n(view.strides, view.rank, result.strides + 1);
  result.shape[0] = 1;
  result.strides[0] = 0;
  ++result.rank;
  return result;
}

View without_leading_axis(const View& view) {
  View result = view;
  --result.rank;
  std::copy_n(view.shape + 1, result.rank, result.shape);
  std::copy_n(view.strides + 1, result.rank, result.strides);
  return result;
}

}  // namespace fa
