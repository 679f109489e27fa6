#include "simt/bulk_copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "simt/execution.h"
#include "simt/global_memory.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr uint32_t kUnit = 16;  // of addresses and sizes

uint32_t range(uint32_t address, uint32_t bytes, uint32_t alignment, const char* what,
               const Location& at) {
  if (address % alignment != 0)
    fail(at, "misaligned: %s at shared offset %d, expected a multiple of %u", what,
         static_cast<int>(address - kSharedBase), alignment);
  return current->block->shared.range(address, bytes, at);
}

void check_size(uint32_t bytes, const void* global, const char* what, const Location& at) {
  if (bytes == 0 || bytes % kUnit != 0)
    fail(at, "misaligned: %s of %u bytes, expected a multiple of 16", what, bytes);
  if (reinterpret_cast<uintptr_t>(global) % kUnit != 0)
    fail(at, "misaligned: %s at global address %p, expected a multiple of 16", what, global);
}

}  // namespace

void engine_load(uint32_t destination, uint32_t bytes, uint32_t alignment, uint32_t barrier,
                 const char* what, std::function<void(uint8_t* destination)> move,
                 const Location& at) {
  require_sm90(what, at);
  Block& block = *current->block;
  const uint32_t offset = range(destination, bytes, alignment, what, at);
  const int index = mbarrier_for_copy(barrier, what, at);
  Mbarrier& target = block.mbarriers[static_cast<size_t>(index)];
  RaceChecker& checker = block.shared.checker();
  if (execution.config.check_races)
    checker.engine_depart(*current, target.agent, target.time(checker.start()), offset, bytes, what,
                          at);
  std::memset(block.shared.data() + offset, 0xff, bytes);
  ++counters().bulk_copies;
  counters().shared_written_bytes += bytes;
  start_load({index, bytes, false,
              [&block, &checker, offset, bytes, move = std::move(move)](int agent, uint32_t time) {
                move(block.shared.data() + offset);
                if (execution.config.check_races) checker.engine_arrive(agent, time, offset, bytes);
              },
              at});
}

void engine_store(uint32_t source, uint32_t bytes, uint32_t alignment, const char* what,
                  std::function<void(const uint8_t* data)> write, const Location& at) {
  require_sm90(what, at);
  Block& block = *current->block;
  Warp& warp = *current->warp;
  const uint32_t offset = range(source, bytes, alignment, what, at);
  const uint32_t time = ++warp.bulk_time;
  if (execution.config.check_races)
    block.shared.checker().engine_load(*current, bulk_agent(warp.index), time, offset, bytes, what,
                                       at);
  ++counters().bulk_copies;
  counters().shared_read_bytes += bytes;
  EngineStore store;
  store.issuer = current;
  store.group = current->bulk_group;
  store.time = time;
  store.offset = offset;
  store.bytes = bytes;
  store.write = std::move(write);
  store.at = at;
  start_store(std::move(store));
}

void bulk_load(uint32_t destination, const void* source, uint32_t bytes, uint32_t barrier,
               const Location& at) {
  maybe_yield();
  check_size(bytes, source, "bulk load", at);
  check_global_range(source, bytes, GlobalUse::kRead, at);
  engine_load(
      destination, bytes, kUnit, barrier, "bulk load",
      [source, bytes](uint8_t* destination) { std::memcpy(destination, source, bytes); }, at);
}

void bulk_store(void* destination, uint32_t source, uint32_t bytes, const Location& at) {
  maybe_yield();
  check_size(bytes, destination, "bulk store", at);
  check_global_range(destination, bytes, GlobalUse::kWrite, at);
  engine_store(
      source, bytes, kUnit, "bulk store",
      [destination, bytes](const uint8_t* data) { std::memcpy(destination, data, bytes); }, at);
}

void bulk_reduce_add(float* destination, uint32_t source, uint32_t bytes, const Location& at) {
  maybe_yield();
  check_size(bytes, destination, "bulk addition", at);
  check_global_range(destination, bytes, GlobalUse::kUpdate, at);
  engine_store(
      source, bytes, kUnit, "bulk addition",
      [destination, bytes](const uint8_t* data) { add_floats(destination, data, bytes); }, at);
}

void bulk_commit() { ++current->bulk_group; }

void bulk_wait(int groups, BulkWait what, const Location&) {
  maybe_yield();
  Block& block = *current->block;
  Warp& warp = *current->warp;
  const bool complete = what == BulkWait::kComplete;
  uint32_t known = warp.bulk_time;
  for (EngineStore& store : block.in_flight.stores) {
    if (store.issuer == current &&
        store.group + static_cast<uint32_t>(groups) < current->bulk_group) {
      advance(block, store, complete ? EngineStore::kWritten : EngineStore::kRead);
      store.waited = true;
      store.complete |= complete;
    }
    if (store.issuer->warp == &warp && !store.waited) known = std::min(known, store.time - 1);
  }
  uint32_t& time = warp.clock.time[bulk_agent(warp.index)];
  time = std::max(time, known);
}

}  // namespace simt
