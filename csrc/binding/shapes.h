// The arithmetic of shapes that come from outside. Nothing here overflows, whatever they hold.
#pragma once

#include "binding/arguments.h"
#include "core/storage.h"

namespace fa::binding {

/**
 * Bytes of a tensor of that shape. Throws Error{code} when they exceed 2^53, and also when an axis
 * of length 0 hides lengths whose product does: code that walks a view multiplies them all.
 */
size_t byte_size(DType dtype, const Sizes& shape, const char* argument, ErrorCode code);

Sizes shape_of(const View& view);

/** A row-major view. */
View row_major(void* data, DType dtype, const Sizes& shape);

/** Where the first element of a view of `storage` lies, in bytes. */
int64_t byte_offset(const Storage& storage, const View& view);

/**
 * A view of `storage` `offset` elements after the first of `base`; throws Error unless it lies
 * inside.
 */
View strided(const Storage& storage, const View& base, const Sizes& shape, const Sizes& strides,
             int64_t offset);

}  // namespace fa::binding
