#include "simt/race_checker.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "simt/execution.h"
#include "simt/report.h"

namespace simt {

namespace {

constexpr uint8_t kManyLanes = 0xfe;
/** Read by an instruction of the whole warp, which no lane can overtake. */
constexpr uint8_t kCollective = 0xff;

/** Where writes came from, so that a granule needs two bytes for it. */
class Sites {
 public:
  uint16_t index(const Location& at) {
    Entry& cached =
        cache_[(reinterpret_cast<uintptr_t>(at.file) * 31 + static_cast<unsigned>(at.line)) %
               kCacheSize];
    if (cached.known && cached.at == at) return cached.index;
    const auto found = std::find(sites_.begin(), sites_.end(), at);
    const size_t index = static_cast<size_t>(found - sites_.begin());
    if (found == sites_.end()) sites_.push_back(at);
    cached = {at, static_cast<uint16_t>(index), true};
    return cached.index;
  }
  const Location& operator[](uint16_t index) const { return sites_[index]; }

 private:
  static constexpr size_t kCacheSize = 1024;
  struct Entry {
    Location at;
    uint16_t index = 0;
    bool known = false;
  };
  std::vector<Location> sites_;
  Entry cache_[kCacheSize];
};

Sites sites;

}  // namespace

void RaceChecker::reset(size_t bytes, int warps) {
  constexpr uint32_t kWrapAround = uint32_t{1} << 31;
  if (bytes == bytes_ && warps == warps_ && start_ < kWrapAround) return;
  bytes_ = bytes;
  warps_ = warps;
  start_ = 0;
  writes_.assign(bytes, Write{});
  reads_.assign(bytes * static_cast<size_t>(warps), 0);
  readers_.assign(bytes * static_cast<size_t>(warps), 0);
}

RaceChecker::Access RaceChecker::access(const Thread& thread, uint32_t offset, int bytes,
                                        const char* verb, const Location& at, bool atomic) {
  return {*thread.warp, thread.lane, thread.seen, offset, offset + static_cast<uint32_t>(bytes),
          atomic,       verb,        at};
}

void RaceChecker::load(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access load = access(thread, offset, bytes, "load", at);
  check_after_writes(load, kMustBeInitialised);
  const uint32_t now = thread.warp->time();
  const uint8_t lane = static_cast<uint8_t>(thread.lane);
  uint32_t* times = &reads_[row(thread.warp->index)];
  uint8_t* who = &readers_[row(thread.warp->index)];
  for (uint32_t i = load.begin; i < load.end; ++i) {
    const bool others = times[i] == now && who[i] != lane && who[i] != kCollective;
    who[i] = others ? kManyLanes : lane;
    times[i] = now;
  }
}

void RaceChecker::collective_load(const Warp& warp, uint32_t offset, int bytes,
                                  const Location& at) {
  uint32_t seen = UINT32_MAX;
  for (const Thread* thread : warp.threads) seen = std::min(seen, thread->seen);
  const Access load{warp,  kWholeWarp, seen, offset, offset + static_cast<uint32_t>(bytes),
                    false, "ldmatrix", at};
  check_after_writes(load, kMustBeInitialised);
  const uint32_t now = warp.time();
  uint32_t* times = &reads_[row(warp.index)];
  uint8_t* who = &readers_[row(warp.index)];
  for (uint32_t i = load.begin; i < load.end; ++i) {
    who[i] = times[i] == now ? who[i] : kCollective;  // a plain read must not be forgotten
    times[i] = now;
  }
}

void RaceChecker::store(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access store = access(thread, offset, bytes, "store", at);
  check_after_reads(store);
  check_after_writes(store, kMayBeNew);
  mark_written(store, kNone);
}

void RaceChecker::atomic(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access update = access(thread, offset, bytes, "atomic operation", at, true);
  check_after_reads(update);
  check_after_writes(update, kMustBeInitialised);
  mark_written(update, kAtomic);
}

void RaceChecker::depart(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access copy = access(thread, offset, bytes, "cp.async", at);
  check_after_reads(copy);
  check_after_writes(copy, kMayBeNew);
  mark_written(copy, kInFlight);
}

void RaceChecker::arrive(const Thread& thread, uint32_t offset, int bytes) {
  for (uint32_t i = offset; i < offset + static_cast<uint32_t>(bytes); ++i) {
    writes_[i].flags = kNone;
    writes_[i].time = thread.warp->time();
  }
}

void RaceChecker::check_after_writes(const Access& access, Content content) const {
  const auto check = [&](uint32_t offset) {
    const Write& write = writes_[offset];
    if (write.time > start_)
      check_order(access, offset, write);
    else if (content == kMustBeInitialised)
      fail(access.at, "%s of uninitialised shared memory at offset %u", access.verb, offset);
  };
  // Most often one instruction has written all of it, and to check the first byte is enough.
  const Write* writes = writes_.data();
  uint64_t first, differences = 0;
  std::memcpy(&first, writes + access.begin, sizeof first);
  for (uint32_t i = access.begin; i < access.end; ++i) {
    uint64_t bits;
    std::memcpy(&bits, writes + i, sizeof bits);
    differences |= bits ^ first;
  }
  check(access.begin);
  if (!differences) return;
  for (uint32_t i = access.begin + 1; i < access.end; ++i) check(i);
}

void RaceChecker::check_order(const Access& access, uint32_t offset, const Write& write) const {
  if (write.flags & kInFlight) race(access, offset, write, "asynchronous copy in flight");
  if (access.atomic && (write.flags & kAtomic)) return;
  if (access.warp.clock.time[write.agent] < write.time)
    race(access, offset, write, "no barrier between");
  if (write.agent == access.warp.index && write.lane != access.lane && write.time >= access.seen)
    race(access, offset, write, "no sync_warp between");
}

void RaceChecker::check_after_reads(const Access& access) const {
  for (int other = 0; other < warps_; ++other) {
    const uint32_t* times = &reads_[row(other)];
    const bool own = other == access.warp.index;
    const uint32_t known = own ? access.seen - 1 : access.warp.clock.time[other];
    uint32_t latest = 0;
    for (uint32_t i = access.begin; i < access.end; ++i) latest = std::max(latest, times[i]);
    if (latest <= known) continue;
    if (!own)
      fail(access.at,
           "race: %s at shared offset %u is not ordered after a read by warp %d (no barrier "
           "between)",
           access.verb, access.begin, other);
    const uint8_t* who = &readers_[row(other)];
    for (uint32_t i = access.begin; i < access.end; ++i) {
      if (times[i] > known && who[i] != access.lane && who[i] != kCollective)
        fail(access.at,
             "race: %s at shared offset %u is not ordered after a read by another lane of warp %d "
             "(no sync_warp between)",
             access.verb, i, other);
    }
  }
}

void RaceChecker::mark_written(const Access& access, Flag flag) {
  const Write write{access.warp.time(), sites.index(access.at),
                    static_cast<uint8_t>(access.warp.index), static_cast<uint8_t>(access.lane),
                    flag};
  std::fill(writes_.begin() + access.begin, writes_.begin() + access.end, write);
}

void RaceChecker::race(const Access& access, uint32_t offset, const Write& write,
                       const char* why) const {
  fail(access.at,
       "race: %s at shared offset %u is not ordered after the write by warp %d, lane %d at %s (%s)",
       access.verb, offset, write.agent, write.lane, to_string(sites[write.site]).c_str(), why);
}

}  // namespace simt
