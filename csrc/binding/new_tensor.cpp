#include "binding/new_tensor.h"

namespace fa::binding {

NewTensor::NewTensor(const char* name, DType dtype, const Sizes& shape, const char* argument)
    : name_(name), bytes_(byte_size(dtype, shape, argument, ErrorCode::kOutOfMemory)) {
  view_ = row_major(nullptr, dtype, shape);  // its strides cannot overflow: its bytes do not
}

TensorRef NewTensor::allocate(Stream& stream) const {
  TensorRef tensor{nullptr, view_};
  try {
    tensor.storage = stream.allocate(bytes_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    throw Error(error.code(), error.argument(),
                std::string("No room for ") + name_ + ", " + dtype_name(view_.dtype) +
                    " of shape " + shape_text(view_) + ": " + error.what());
  }
  tensor.view.data = tensor.storage->data();
  return tensor;
}

}  // namespace fa::binding
