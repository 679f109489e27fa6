// Host memory for tensors.
#pragma once

#include <memory>

#include "core/storage.h"

namespace fa::cpu {

/**
 * Most bytes of freed tensors that are kept for the next ones of about their sizes, whose pages
 * need not be cleared again: a sixteenth of what the process may use, and no more than 256 MiB.
 * JavaScript's garbage collector waits for 64 MiB of arrays before it gives memory back, so a
 * server whose results have a few sizes needs several times that. A block of more than a quarter of
 * it is not kept.
 */
size_t most_kept_bytes();

/**
 * Uninitialised memory, 64-byte aligned; from 2 MiB on it starts at a 2 MiB boundary and asks for
 * huge pages, which a kernel that walks many rows at once needs to stay within the TLB. When freed
 * it goes back to the system, but for the last most_kept_bytes(). Throws Error{kOutOfMemory}, also
 * for sizes the machine could never back: the system would hand out the addresses and kill the
 * process later.
 */
std::shared_ptr<Storage> allocate_storage(Stream* stream, size_t bytes);

/** Throws Error{kOutOfMemory} when the machine could never back that many bytes. */
void expect_possible(size_t bytes);

}  // namespace fa::cpu
