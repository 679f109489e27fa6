// cp.async.bulk and cp.reduce.async.bulk, and the groups that writing copies belong to.
#pragma once

#include <cstdint>

#include "simt/location.h"

namespace simt {

void bulk_load(uint32_t destination, const void* source, uint32_t bytes, uint32_t barrier,
               const Location& at);
void bulk_store(void* destination, uint32_t source, uint32_t bytes, const Location& at);
void bulk_reduce_add(float* destination, uint32_t source, uint32_t bytes, const Location& at);

void bulk_commit();
enum class BulkWait { kRead, kComplete };
/** Until all but the `groups` youngest groups of the running thread have read, or are complete. */
void bulk_wait(int groups, BulkWait what, const Location& at);

/** fence.proxy.async: the running thread's accesses become visible to the async proxy. */
void proxy_fence();

}  // namespace simt
