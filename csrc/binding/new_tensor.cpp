#include "binding/new_tensor.h"

#include "binding/environment.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

/** More memory outside V8's heap than any heap limit makes V8 collect before it returns. */
constexpr int64_t kPressure = int64_t{1} << 40;

/** Has V8 collect what was dropped, and waits for all queued tasks: both hold memory. */
void make_room(Napi::Env env, const std::string& device) {
  int64_t total = 0;
  napi_adjust_external_memory(env, kPressure, &total);
  napi_adjust_external_memory(env, -kPressure, &total);
  release_collected(env);
  for (Stream* const stream : Environment::of(env).streams(device)) {
    stream->wait(stream->last_enqueued());
  }
}

std::shared_ptr<Storage> allocated(Napi::Env env, Stream& stream, size_t bytes) {
  try {
    return stream.allocate(bytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory || bytes > stream.capacity()) throw;
  }
  make_room(env, stream.device());
  return stream.allocate(bytes);
}

}  // namespace

NewTensor::NewTensor(const char* name, DType dtype, const Sizes& shape, const char* argument)
    : name_(name), bytes_(byte_size(dtype, shape, argument, ErrorCode::kOutOfMemory)) {
  view_ = row_major(nullptr, dtype, shape);  // its strides cannot overflow: its bytes do not
}

TensorRef NewTensor::allocate(Napi::Env env, Stream& stream) const {
  if (Environment::of(env).ledger()->has_piled_up(bytes_)) release_collected(env);
  TensorRef tensor{nullptr, view_};
  try {
    tensor.storage = allocated(env, stream, bytes_);
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
