// cp.async.bulk and cp.reduce.async.bulk, and the groups that writing copies belong to.
#pragma once

#include <cstdint>
#include <functional>

#include "simt/location.h"

namespace simt {

/** A copy of `bytes` to a shared address by the copy engine. `move(destination)` fetches them. */
void engine_load(uint32_t destination, uint32_t bytes, uint32_t alignment, uint32_t barrier,
                 const char* what, std::function<void(uint8_t* destination)> move,
                 const Location& at);
/** A copy from a shared address by the copy engine. `write(data)` puts them where they belong. */
void engine_store(uint32_t source, uint32_t bytes, uint32_t alignment, const char* what,
                  std::function<void(const uint8_t* data)> write, const Location& at);

void bulk_load(uint32_t destination, const void* source, uint32_t bytes, uint32_t barrier,
               const Location& at);
void bulk_store(void* destination, uint32_t source, uint32_t bytes, const Location& at);
void bulk_reduce_add(float* destination, uint32_t source, uint32_t bytes, const Location& at);

void bulk_commit();
enum class BulkWait { kRead, kComplete };
/** Until all but the `groups` youngest groups of the running thread have read, or are complete. */
void bulk_wait(int groups, BulkWait what, const Location& at);

}  // namespace simt
