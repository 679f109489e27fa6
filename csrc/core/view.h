// A tensor view: where the elements are and how to walk them. Owns nothing.
#pragma once

#include <cstdint>
#include <string>

#include "core/dtype.h"

namespace fa {

constexpr int kMaxRank = 6;

struct View {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};  // in elements; 0 broadcasts

  bool present() const { return rank > 0; }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  bool contiguous() const {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
  char* at(int64_t element_offset) const {
    return static_cast<char*>(data) + element_offset * static_cast<int64_t>(dtype_size(dtype));
  }
};

/** The elements of an index tensor in host memory. */
inline const int32_t* int32_data(const View& view) {
  return static_cast<const int32_t*>(view.data);
}

/** "[2, 16, 8, 64]", as error messages show shapes. */
std::string shape_text(const View& view);

/** A row-major view over `data`. */
View contiguous_view(void* data, DType dtype, std::initializer_list<int64_t> shape);

/** A row-major view of the same shape over other memory. */
View contiguous_like(const View& view, DType dtype, void* data);

/** `view` with the axes in the given order. */
View permuted(const View& view, std::initializer_list<int> axes);

/** Whether no two elements lie in one place; false also of some contrived strides. */
bool disjoint_elements(const View& view);

/** Whether some memory lies between the first and the last byte of both. */
bool ranges_overlap(const View& a, const View& b);

}  // namespace fa
