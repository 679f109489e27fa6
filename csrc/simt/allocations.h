// What is known of an allocation (global_memory.h), for those who give it back.
#pragma once

#include <cstddef>

namespace simt {

/** Bytes of the allocation that begins at `memory`; 0 if there is none. */
size_t global_bytes(const void* memory);

}  // namespace simt
