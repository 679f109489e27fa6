#include "simt/global_memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "simt/allocations.h"
#include "simt/execution.h"
#include "simt/overlap.h"
#include "simt/proxy.h"
#include "simt/report.h"
#include "simt/scheduler.h"
#include "simt/stream_order.h"
#include "simt/watched_reads.h"

namespace simt {

namespace {

constexpr size_t kAlignment = 256;

struct Range {
  uintptr_t begin = 0, end = 0;
  bool contains(uintptr_t address, size_t bytes) const {
    return address >= begin && address <= end && bytes <= end - address;
  }
};

std::mutex mutex;
std::map<uintptr_t, size_t> allocations;  // begin to bytes
size_t allocated = 0;

/** The allocations that the running grid used last, so that most accesses take no lock. */
constexpr size_t kRecent = 8;
Range recent[kRecent];
size_t oldest = 0;

std::vector<Range> watched;  // changes between grids alone
uint64_t watched_reads = 0;

void count_read(const void* pointer, size_t bytes) {
  counters().global_read_bytes += bytes;
  for (const Range& range : watched)
    if (range.contains(reinterpret_cast<uintptr_t>(pointer), bytes)) watched_reads += bytes;
}

/** The allocation that begins at or before `address`. */
Range allocation_below(uintptr_t address) {
  const std::lock_guard<std::mutex> lock(mutex);
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return {};
  --next;
  return {next->first, next->first + next->second};
}

bool known(uintptr_t address, size_t bytes) {
  for (const Range& range : recent)
    if (range.contains(address, bytes)) return true;
  const Range range = allocation_below(address);
  if (!range.contains(address, bytes)) return false;
  recent[oldest++ % kRecent] = range;
  return true;
}

void check_bounds(const void* pointer, size_t bytes, const char* verb, const Location& at) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (known(address, bytes)) return;
  const Range near = allocation_below(address);
  if (!near.end)
    fail(at, "out of bounds: global %s of %zu bytes at %p, below every allocation", verb, bytes,
         pointer);
  fail(at,
       "out of bounds: global %s of %zu bytes at %p, %lld bytes from the start of the nearest "
       "allocation "
       "below, which has %zu",
       verb, bytes, pointer, static_cast<long long>(address - near.begin),
       static_cast<size_t>(near.end - near.begin));
}

void check(const void* pointer, int bytes, const char* verb, const Location& at) {
  check_bounds(pointer, static_cast<size_t>(bytes), verb, at);
  if (reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) != 0)
    fail(at, "misaligned: global %s of %d bytes at %p", verb, bytes, pointer);
}

/** What the running grid reads or writes beside others: on its stream, and on others. */
void note_use(const void* pointer, size_t bytes, GlobalUse use, const Location& at) {
  if (use != GlobalUse::kWrite) note_overlapping_read(pointer, bytes, at);
  if (use != GlobalUse::kRead) note_overlapping_write(pointer, bytes, at);
  for (const bool write : {false, true}) {
    if (use == (write ? GlobalUse::kRead : GlobalUse::kWrite)) continue;
    if (const char* const met = note_stream_access(pointer, bytes, write))
      fail(at, "race: global %s at %p of what work of another stream %s: no event is between them",
           write ? "write" : "read", pointer, met);
  }
}

}  // namespace

void* allocate_global(size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded ? rounded : kAlignment);
  if (!memory) return nullptr;
  std::memset(memory, 0xff, bytes);
  const std::lock_guard<std::mutex> lock(mutex);
  allocations[reinterpret_cast<uintptr_t>(memory)] = bytes;
  allocated += bytes;
  return memory;
}

bool free_global(void* memory) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
    if (found == allocations.end()) return false;
    allocated -= found->second;
    allocations.erase(found);
  }
  std::free(memory);
  return true;
}

bool is_global(const void* pointer, size_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  return allocation_below(address).contains(address, bytes);
}

size_t global_bytes(const void* memory) {
  const Range range = allocation_below(reinterpret_cast<uintptr_t>(memory));
  return range.begin == reinterpret_cast<uintptr_t>(memory) ? range.end - range.begin : 0;
}

size_t allocated_global_bytes() {
  const std::lock_guard<std::mutex> lock(mutex);
  return allocated;
}

void begin_global_accesses() {
  for (Range& range : recent) range = {1, 0};
}

void watch_global_reads(const void* memory) {
  watched.push_back(allocation_below(reinterpret_cast<uintptr_t>(memory)));
}

uint64_t take_watched_reads() {
  watched.clear();
  return std::exchange(watched_reads, 0);
}

void check_global_read(const void* pointer, int bytes, const Location& at) {
  check(pointer, bytes, "read", at);
  count_read(pointer, static_cast<size_t>(bytes));
  note_use(pointer, static_cast<size_t>(bytes), GlobalUse::kRead, at);
}

void check_global_range(const void* pointer, uint32_t bytes, GlobalUse use, const Location& at) {
  switch (use) {
    case GlobalUse::kRead:
      check_bounds(pointer, bytes, "read", at);
      count_read(pointer, bytes);
      break;
    case GlobalUse::kWrite:
      check_bounds(pointer, bytes, "write", at);
      counters().global_written_bytes += bytes;
      break;
    case GlobalUse::kUpdate:
      check_bounds(pointer, bytes, "atomic operation", at);
      counters().global_atomic_bytes += bytes;
  }
  note_use(pointer, bytes, use, at);
  check_async_access(pointer, bytes, use != GlobalUse::kRead, at);
}

void add_floats(float* pointer, const uint8_t* values, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes / sizeof(float); ++i) {
    float value;
    std::memcpy(&value, values + i * sizeof value, sizeof value);
    pointer[i] += value;
  }
}

void global_load(const void* pointer, void* destination, int bytes, const Location& at) {
  check_global_read(pointer, bytes, at);
  ++counters().global_loads;
  std::memcpy(destination, pointer, static_cast<size_t>(bytes));
}

void global_store(void* pointer, const void* source, int bytes, const Location& at) {
  maybe_yield();
  check(pointer, bytes, "write", at);
  ++counters().global_stores;
  counters().global_written_bytes += static_cast<uint64_t>(bytes);
  ++execution.progress;
  note_use(pointer, static_cast<size_t>(bytes), GlobalUse::kWrite, at);
  note_global_write(pointer, static_cast<uint32_t>(bytes), at);
  std::memcpy(pointer, source, static_cast<size_t>(bytes));
}

void global_prefetch(const void* pointer, const Location& at) { check(pointer, 1, "prefetch", at); }

void check_global_atomic(const void* pointer, int bytes, const Location& at) {
  maybe_yield();
  check(pointer, bytes, "atomic operation", at);
  ++counters().global_atomics;
  counters().global_atomic_bytes += static_cast<uint64_t>(bytes);
  ++execution.progress;
  note_use(pointer, static_cast<size_t>(bytes), GlobalUse::kUpdate, at);
  note_global_write(pointer, static_cast<uint32_t>(bytes), at);
}

void global_reduce(float* pointer, const float* values, int count, const Location& at) {
  check_global_atomic(pointer, count * static_cast<int>(sizeof(float)), at);
  for (int i = 0; i < count; ++i) pointer[i] += values[i];
}

int global_acquire(const int* pointer, const Location& at) {
  maybe_yield();
  int value;
  global_load(pointer, &value, sizeof value, at);
  note_acquire();
  return value;
}

void global_release(int* pointer, int value, const Location& at) {
  check_stores_at_release(*current, at);
  global_store(pointer, &value, sizeof value, at);
}

}  // namespace simt
