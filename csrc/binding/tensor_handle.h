// The JavaScript object that stands for a tensor.
#pragma once

#include <initializer_list>

#include "binding/environment.h"
#include "binding/napi.h"
#include "core/stream.h"

namespace fa::binding {

/** A new handle that holds `tensor`'s storage until it is disposed or collected. */
Napi::Object new_handle(Napi::Env env, TensorRef tensor);

/**
 * The handle of a result, whose dtype and shape JavaScript finds under the symbol
 * `Environment::description`: it does not work them out again.
 */
Napi::Object new_result(Napi::Env env, TensorRef tensor);

/** An array of such handles; null where a tensor has no storage. */
Napi::Array new_results(Napi::Env env, std::initializer_list<TensorRef> tensors);

/**
 * The tensor of a handle: a copy, so that it stays valid whatever JavaScript does next. Throws
 * Error{kType} when `value` is no handle of ours, Error{kDisposed} when it was disposed.
 */
TensorRef tensor_of(const Napi::Value& value, const char* argument);

/** Throws Error{kDevice} unless the tensor is on the device of `stream`. */
void check_device(const TensorRef& tensor, const Stream& stream, const char* argument);

/** Releases the storage of a handle. Idempotent. */
void dispose_handle(const Napi::Value& value, const char* argument);

/**
 * Releases the storages of handles that the garbage collector took. Their finalizers do so too, but
 * Node runs those between turns of the event loop: never, in a loop that does not yield.
 */
void release_collected(Napi::Env env);

}  // namespace fa::binding
