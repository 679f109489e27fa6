// Host memory for tensors.
#pragma once

#include <memory>

#include "core/storage.h"

namespace fa::cpu {

/**
 * Bytes of freed tensors that are kept for the next ones of the same sizes: their pages need not be
 * cleared again.
 */
constexpr size_t kKeptBytes = size_t{64} << 20;

/**
 * Uninitialised memory, 64-byte aligned; from 2 MiB on it starts at a 2 MiB boundary and asks for
 * huge pages, which a kernel that walks many rows at once needs to stay within the TLB. When freed
 * it goes back to the system, but for the last kKeptBytes. Throws Error{kOutOfMemory}, also for
 * sizes the machine could never back: the system would hand out the addresses and kill the process
 * later.
 */
std::shared_ptr<Storage> allocate_storage(Stream* stream, size_t bytes);

/** Throws Error{kOutOfMemory} when the machine could never back that many bytes. */
void expect_possible(size_t bytes);

}  // namespace fa::cpu
