#include "binding/read.h"

#include "binding/arguments.h"
#include "binding/buffer_storage.h"
#include "binding/shapes.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

/** Reads are in the queue of what made the tensor, unless they are preferred. */
Stream& reading(Environment& environment, const TensorRef& tensor) {
  return environment.priority() == Priority::kHigh ? environment.stream(*tensor.storage)
                                                   : *tensor.storage->stream();
}

Napi::Value copied(Environment& environment, const TensorRef& tensor, DType dtype) {
  const size_t bytes = static_cast<size_t>(tensor.view.size()) * dtype_size(dtype);
  Napi::ArrayBuffer buffer = environment.array_buffer(bytes);
  Stream& stream = reading(environment, tensor);
  const auto host = std::make_shared<BufferStorage>(&stream, buffer.Data(), bytes);
  return environment.promises().filled(stream, buffer, host, [&] {
    stream.enqueue(ops::Download{.source = tensor.view, .dtype = dtype, .host = host->data()},
                   {{tensor.storage}, {host}});
  });
}

/**
 * Whether the tensor is all there is in its memory, and that memory the host's own, held by no
 * other tensor and by tasks of no other stream.
 */
bool can_be_given_away(Environment& environment, const TensorRef& tensor) {
  const Storage& storage = *tensor.storage;
  const size_t bytes = static_cast<size_t>(tensor.view.size()) * dtype_size(tensor.view.dtype);
  return bytes > 0 && bytes <= Environment::kMostForeignBytes && bytes == storage.bytes() &&
         tensor.view.contiguous() && storage.data() == storage.host_data() &&
         environment.ledger()->held_once(storage) && memory_of(tensor.storage)->read_by.empty() &&
         &reading(environment, tensor) == storage.stream();
}

}  // namespace

Napi::Value read(const Napi::CallbackInfo& call) {
  const DType dtype = to_dtype(call[1], "dtype");
  const TensorRef tensor = tensor_of(call[0], "tensor");
  if (dtype != tensor.view.dtype && dtype != DType::kFloat32) {
    refuse(ErrorCode::kDType, "dtype", "float32 or that of the tensor", dtype_name(dtype));
  }
  Environment& environment = Environment::of(call.Env());
  try {
    return copied(environment, tensor, dtype);
  } catch (const Error& error) {
    return environment.promises().rejected(error);
  }
}

Napi::Value take(const Napi::CallbackInfo& call) {
  const TensorRef tensor = tensor_of(call[0], "tensor");
  Environment& environment = Environment::of(call.Env());
  const Napi::Value promise =
      can_be_given_away(environment, tensor)
          ? environment.promises().handed_over(*tensor.storage->stream(), tensor.storage)
          : copied(environment, tensor, tensor.view.dtype);
  dispose_handle(call[0], "tensor");  // not when this fails: the contents would be lost
  return promise;
}

Napi::Value lap(const Napi::CallbackInfo& call) {
  Environment& environment = Environment::of(call.Env());
  Stream& stream = environment.stream(to_text(call[0], "device"));
  Napi::ArrayBuffer buffer = environment.array_buffer(sizeof(double));
  const auto host = std::make_shared<BufferStorage>(&stream, buffer.Data(), sizeof(double));
  return environment.promises().filled(stream, buffer, host, [&] {
    stream.enqueue(ops::Lap{.milliseconds = static_cast<double*>(host->data())}, {{}, {host}});
  });
}

Napi::Value synchronize(const Napi::CallbackInfo& call) {
  Environment& environment = Environment::of(call.Env());
  return environment.promises().synchronized(environment.streams(to_text(call[0], "device")));
}

}  // namespace fa::binding
