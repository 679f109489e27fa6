// The one place that makes tensors: what a call gives is described first, then it gets memory.
#pragma once

#include <string>

#include "binding/napi.h"
#include "binding/shapes.h"
#include "core/stream.h"

namespace fa::binding {

class NewTensor {
 public:
  /**
   * A row-major tensor without memory, which messages call `name`. Throws Error{kOutOfMemory} that
   * names `argument` when it is larger than any memory.
   */
  NewTensor(const char* name, DType dtype, const Sizes& shape, const char* argument);

  /** Its shape, strides and dtype. There is no data yet. */
  const View& view() const { return view_; }

  /**
   * With memory of `stream`. Tensors that JavaScript has dropped make room first: when much has
   * piled up, and when there is no other. Throws Error{kOutOfMemory} that says what did not fit.
   */
  TensorRef allocate(Napi::Env env, Stream& stream) const;

 private:
  const char* name_;
  View view_;
  size_t bytes_;
};

}  // namespace fa::binding
