#include "simt/shared_memory.h"

#include <cstring>

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr size_t align_up(size_t value, size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

void SharedMemory::reset(size_t dynamic_bytes, int warps) {
  dynamic_bytes_ = dynamic_bytes;
  static_begin_ = static_end_ = align_up(dynamic_bytes, 128);
  statics_.clear();
  bytes_.assign(static_begin_ + kMaxStaticSharedBytes, 0xff);
  checker_.reset(bytes_.size(), warps);
}

uint32_t SharedMemory::static_address(const void* tag, size_t bytes, const Location& at) {
  for (const Static& each : statics_)
    if (each.tag == tag) return each.address;
  const size_t begin = align_up(static_end_, 16);
  if (begin + bytes > static_begin_ + kMaxStaticSharedBytes)
    fail(at, "more than %zu bytes of static shared memory", kMaxStaticSharedBytes);
  static_end_ = begin + bytes;
  statics_.push_back({tag, kSharedBase + static_cast<uint32_t>(begin)});
  return statics_.back().address;
}

uint32_t SharedMemory::range(uint32_t address, uint32_t bytes, const Location& at) const {
  const uint64_t begin = uint64_t{address} - kSharedBase, end = begin + bytes;
  const bool inside = address >= kSharedBase &&
                      (end <= dynamic_bytes_ || (begin >= static_begin_ && end <= static_end_));
  if (!inside)
    fail(at, "out of bounds: %u bytes at shared offset %lld, of %zu dynamic and %zu static bytes",
         bytes, static_cast<long long>(begin), dynamic_bytes_, static_end_ - static_begin_);
  return static_cast<uint32_t>(begin);
}

uint32_t SharedMemory::offset(uint32_t address, int bytes, const Location& at) const {
  const uint32_t begin = range(address, static_cast<uint32_t>(bytes), at);
  if (address % static_cast<uint32_t>(bytes) != 0)
    fail(at, "misaligned: %d bytes at shared offset %u", bytes, begin);
  return begin;
}

uint32_t dynamic_shared_memory() { return kSharedBase; }

uint32_t static_shared_memory(const void* tag, size_t bytes, const Location& at) {
  return current->block->shared.static_address(tag, bytes, at);
}

void shared_load(uint32_t address, void* destination, int bytes, const Location& at) {
  maybe_yield();
  SharedMemory& memory = current->block->shared;
  const uint32_t offset = memory.offset(address, bytes, at);
  ++counters().shared_loads;
  counters().shared_read_bytes += static_cast<uint64_t>(bytes);
  current->warp->accesses.add(Access::kLoad, address, bytes, current->lane, at);
  if (execution.config.check_races) memory.checker().load(*current, offset, bytes, at);
  std::memcpy(destination, memory.data() + offset, static_cast<size_t>(bytes));
}

void shared_store(uint32_t address, const void* source, int bytes, const Location& at) {
  maybe_yield();
  SharedMemory& memory = current->block->shared;
  const uint32_t offset = memory.offset(address, bytes, at);
  ++counters().shared_stores;
  counters().shared_written_bytes += static_cast<uint64_t>(bytes);
  current->warp->accesses.add(Access::kStore, address, bytes, current->lane, at);
  if (execution.config.check_races) memory.checker().store(*current, offset, bytes, at);
  std::memcpy(memory.data() + offset, source, static_cast<size_t>(bytes));
}

void* shared_atomic_target(uint32_t address, const Location& at) {
  maybe_yield();
  SharedMemory& memory = current->block->shared;
  const uint32_t offset = memory.offset(address, 4, at);
  ++counters().shared_atomics;
  if (execution.config.check_races) memory.checker().atomic(*current, offset, 4, at);
  return memory.data() + offset;
}

}  // namespace simt
