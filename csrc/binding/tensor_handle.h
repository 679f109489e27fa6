// The JavaScript object that stands for a tensor.
#pragma once

#include "binding/environment.h"
#include "binding/napi.h"
#include "core/stream.h"

namespace fa::binding {

/** A new handle that holds `tensor`'s storage until it is disposed or collected. */
Napi::Object new_handle(Napi::Env env, TensorRef tensor);

/**
 * The tensor of a handle: a copy, so that it stays valid whatever JavaScript does next. Throws
 * Error{kType} when `value` is no handle of ours, Error{kDisposed} when it was disposed.
 */
TensorRef tensor_of(const Napi::Value& value, const char* argument);

/** Releases the storage of a handle. Idempotent. */
void dispose_handle(const Napi::Value& value, const char* argument);

}  // namespace fa::binding
