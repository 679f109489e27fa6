#include "binding/tensors.h"

#include <vector>

#include "binding/arguments.h"
#include "binding/new_tensor.h"
#include "binding/tensor_handle.h"
#include "core/transfer.h"
#include "cpu/scratch.h"
#include "cuda/runtime/backend.h"

namespace fa::binding {

namespace {

/** The arguments all functions that make a tensor start with, and the tensor. */
struct Creation {
  explicit Creation(const Napi::CallbackInfo& call)
      : env(call.Env()),
        stream(Environment::of(env).stream(to_text(call[0], "device"))),
        dtype(to_dtype(call[1], "dtype")),
        tensor("the tensor", dtype, to_sizes(call[2], "shape"), "shape") {}

  TensorRef allocate() const { return tensor.allocate(env, stream); }

  Napi::Env env;
  Stream& stream;
  DType dtype;
  NewTensor tensor;
};

napi_typedarray_type carrier(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return napi_float32_array;
    case DType::kFloat16:
    case DType::kBFloat16: return napi_uint16_array;
    case DType::kInt32: return napi_int32_array;
    case DType::kBool:
    case DType::kFloat8E4M3: return napi_uint8_array;
    case DType::kInt8: return napi_int8_array;
  }
  return napi_uint8_array;
}

/** The elements of a typed array, which must be `count` of the carrier type of `dtype`. */
const void* elements(const Napi::Value& value, DType dtype, int64_t count) {
  const char* const names[kDTypeCount] = {"a Float32Array", "a Uint16Array", "a Uint16Array",
                                          "an Int32Array",  "a Uint8Array",  "a Uint8Array",
                                          "an Int8Array"};
  const char* const expected = names[static_cast<int>(dtype)];
  if (!value.IsTypedArray()) refuse(ErrorCode::kType, "data", expected, shown(value));
  // Left alone by Node versions that do not know the type of the array.
  auto type = static_cast<napi_typedarray_type>(-1);
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) !=
      napi_ok) {
    throw Napi::Error::New(value.Env());
  }
  if (type != carrier(dtype)) {
    refuse(ErrorCode::kType, "data", expected, "another typed array");
  }
  // That of a detached buffer has length 0.
  if (static_cast<int64_t>(length) != count) {
    refuse(ErrorCode::kShape, "data", std::to_string(count) + " elements", std::to_string(length));
  }
  return data;
}

}  // namespace

Napi::Value empty(const Napi::CallbackInfo& call) {
  const Creation made(call);
  return new_handle(call.Env(), made.allocate());
}

Napi::Value zeros(const Napi::CallbackInfo& call) {
  const Creation made(call);
  TensorRef tensor = made.allocate();
  made.stream.enqueue(ops::FillZero{.target = tensor.view}, {{}, {tensor.storage}});
  return new_handle(call.Env(), std::move(tensor));
}

Napi::Value randn(const Napi::CallbackInfo& call) {
  const Creation made(call);
  if (!is_floating(made.dtype)) {
    refuse(ErrorCode::kDType, "dtype", "float32, float16 or bfloat16", dtype_name(made.dtype));
  }
  const uint64_t seed = to_uint64(call[3], "seed");
  TensorRef tensor = made.allocate();
  made.stream.enqueue(ops::FillNormal{.target = tensor.view, .seed = seed}, {{}, {tensor.storage}});
  return new_handle(call.Env(), std::move(tensor));
}

Napi::Value from_data(const Napi::CallbackInfo& call) {
  const Creation made(call);
  const DType data_dtype = to_dtype(call[4], "dataDtype");
  // All that may run JavaScript (getters of `shape`) has, so the array cannot change any more.
  const int64_t count = made.tensor.view().size();
  const void* data = elements(call[3], data_dtype, count);
  TensorRef tensor = made.allocate();
  if (count > 0) made.stream.upload(data, data_dtype, tensor);
  return new_handle(call.Env(), std::move(tensor));
}

Napi::Value view(const Napi::CallbackInfo& call) {
  const Sizes shape = to_sizes(call[1], "shape");
  const Sizes strides = to_sizes(call[2], "strides");
  const int64_t offset = to_integer(call[3], "offset", 0, kMaxSafeInteger);
  TensorRef tensor = tensor_of(call[0], "tensor");
  tensor.view = strided(*tensor.storage, tensor.view, shape, strides, offset);
  return new_handle(call.Env(), std::move(tensor));
}

Napi::Value convert(const Napi::CallbackInfo& call) {
  Environment& environment = Environment::of(call.Env());
  Stream& stream = environment.stream(to_text(call[1], "device"));
  const DType dtype = to_dtype(call[2], "dtype");
  const TensorRef source = tensor_of(call[0], "tensor");
  TensorRef target =
      NewTensor("the copy", dtype, shape_of(source.view), "tensor").allocate(call.Env(), stream);
  if (Stream& from = environment.stream(*source.storage); &from == &stream) {
    stream.enqueue(ops::Convert{.source = source.view, .target = target.view},
                   {{source.storage}, {target.storage}});
  } else {
    transfer(source, from, target);
  }
  return new_handle(call.Env(), std::move(target));
}

Napi::Value describe(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const TensorRef tensor = tensor_of(call[0], "tensor");
  const View& view = tensor.view;
  Napi::Array shape = Napi::Array::New(env, view.rank);
  Napi::Array strides = Napi::Array::New(env, view.rank);
  for (int i = 0; i < view.rank; ++i) {
    shape.Set(static_cast<uint32_t>(i), static_cast<double>(view.shape[i]));
    strides.Set(static_cast<uint32_t>(i), static_cast<double>(view.strides[i]));
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("dtype", static_cast<int>(view.dtype));
  result.Set("device", tensor.storage->stream()->device());
  result.Set("shape", shape);
  result.Set("strides", strides);
  result.Set("byteLength", static_cast<double>(view.size()) * dtype_size(view.dtype));
  return result;
}

Napi::Value dispose(const Napi::CallbackInfo& call) {
  dispose_handle(call[0], "tensor");
  return call.Env().Undefined();
}

Napi::Value memory(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const Ledger& ledger = *Environment::of(env).ledger();
  Napi::Object result = Napi::Object::New(env);
  result.Set("tensors", static_cast<double>(ledger.tensors()));
  result.Set("storages", static_cast<double>(ledger.storages()));
  result.Set("bytes", static_cast<double>(ledger.bytes()));
  result.Set("scratch", static_cast<double>(cpu::scratch_in_use()));
  const std::vector<PoolUse> pools = cuda::pools();
  Napi::Array list = Napi::Array::New(env, pools.size());
  for (uint32_t i = 0; i < pools.size(); ++i) {
    Napi::Object pool = Napi::Object::New(env);
    pool.Set("device", pools[i].device);
    pool.Set("reserved", static_cast<double>(pools[i].reserved));
    pool.Set("used", static_cast<double>(pools[i].used));
    pool.Set("limit", static_cast<double>(pools[i].limit));
    list.Set(i, pool);
  }
  result.Set("pools", list);
  return result;
}

}  // namespace fa::binding
