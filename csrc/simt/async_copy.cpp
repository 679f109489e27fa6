#include "simt/async_copy.h"

#include <cstring>

#include "simt/execution.h"
#include "simt/global_memory.h"
#include "simt/in_flight.h"
#include "simt/mbarrier.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

void land(SharedMemory& memory, AsyncCopies::Copy& copy) {
  uint8_t* destination = memory.data() + copy.offset;
  const size_t bytes = static_cast<size_t>(copy.bytes);
  if (copy.source)
    std::memcpy(destination, copy.source, bytes);
  else
    std::memset(destination, 0, bytes);
  copy.landed = true;
}

}  // namespace

void async_copy(uint32_t destination, const void* source, int bytes, bool predicate,
                const Location& at) {
  maybe_yield();
  SharedMemory& memory = current->block->shared;
  const uint32_t offset = memory.offset(destination, bytes, at);
  if (predicate) check_global_read(source, bytes, at);
  ++counters().cp_async;
  counters().shared_written_bytes += static_cast<uint64_t>(bytes);
  current->warp->accesses.add(Access::kAsyncCopy, destination, bytes, current->lane, at);
  if (execution.config.check_races) memory.checker().depart(*current, offset, bytes, at);
  std::memset(memory.data() + offset, 0xff, static_cast<size_t>(bytes));
  AsyncCopies& copies = current->copies;
  copies.under_way.push_back({.offset = offset,
                              .source = predicate ? source : nullptr,
                              .bytes = bytes,
                              .group = copies.group,
                              .at = at,
                              .landed = false});
  if (acts_at_once()) land(memory, copies.under_way.back());
}

void async_copy_commit() { ++current->copies.group; }

void async_copy_wait(int groups) {
  maybe_yield();
  SharedMemory& memory = current->block->shared;
  AsyncCopies& copies = current->copies;
  size_t kept = 0;
  for (AsyncCopies::Copy& copy : copies.under_way) {
    if (copy.group + static_cast<uint32_t>(groups) >= copies.group) {
      copies.under_way[kept++] = copy;
      continue;
    }
    if (!copy.landed) land(memory, copy);
    if (execution.config.check_races) memory.checker().arrive(*current, copy.offset, copy.bytes);
  }
  copies.under_way.resize(kept);
}

void async_copy_arrive(uint32_t barrier, const Location& at) {
  maybe_yield();
  Block& block = *current->block;
  const int index = mbarrier_for_copy(barrier, "cp.async.mbarrier.arrive", at);
  // From here on they belong to the mbarrier, and this thread waits for it, too, to know of them.
  std::vector<AsyncCopies::Copy> copies;
  copies.swap(current->copies.under_way);
  start_load({index, 0, true,
              [&block, copies](int agent, uint32_t time) mutable {
                for (AsyncCopies::Copy& copy : copies) {
                  if (!copy.landed) land(block.shared, copy);
                  if (execution.config.check_races)
                    block.shared.checker().arrive_at_mbarrier(copy.offset, copy.bytes, agent, time);
                }
              },
              at});
}

void check_copies_at_exit(const Thread& thread) {
  if (thread.copies.under_way.empty()) return;
  fail(thread.copies.under_way.front().at, "the thread exits with %zu copies it never waited for",
       thread.copies.under_way.size());
}

}  // namespace simt
