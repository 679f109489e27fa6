#include "simt/race_checker.h"

#include <algorithm>
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
    Entry& cached = cache_[(reinterpret_cast<uintptr_t>(at.file) * 31 + static_cast<unsigned>(at.line)) %
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
  const size_t granules = bytes / kGranule;
  constexpr uint32_t kWrapAround = uint32_t{1} << 31;
  if (granules != granules_ || warps != warps_ || start_ > kWrapAround) {
    granules_ = granules;
    warps_ = warps;
    start_ = 0;
    writes_.assign(granules, Write{});
    reads_.assign(granules * static_cast<size_t>(warps), 0);
    readers_.assign(granules * static_cast<size_t>(warps), 0);
  }
}

void RaceChecker::race(uint32_t granule, const Write& write, const char* verb, const char* why,
                       const Location& at) const {
  fail(at, "race: %s at shared offset %u is not ordered after the write by warp %d, lane %d at %s (%s)",
       verb, granule * kGranule, write.agent, write.lane, to_string(sites[write.site]).c_str(), why);
}

void RaceChecker::check_order(const Warp& warp, int lane, uint32_t granule, const Write& write,
                              bool atomic, const Location& at, const char* verb) const {
  if (write.flags & kInFlight) race(granule, write, verb, "asynchronous copy in flight", at);
  if (atomic && (write.flags & kAtomic)) return;
  if (warp.clock.time[write.agent] < write.time) race(granule, write, verb, "no barrier between", at);
  if (write.agent == warp.index && write.lane != lane && write.time >= warp.threads[lane]->seen)
    race(granule, write, verb, "no sync_warp between", at);
}

void RaceChecker::check_written(const Warp& warp, int lane, uint32_t first, uint32_t last, bool atomic,
                                const Location& at, const char* verb) const {
  uint64_t checked = 0;
  for (uint32_t granule = first; granule <= last; ++granule) {
    const Write& write = writes_[granule];
    uint64_t bits;
    __builtin_memcpy(&bits, &write, sizeof bits);
    if (bits == checked && granule > first) continue;
    checked = bits;
    if (write.time <= start_)
      fail(at, "%s of uninitialised shared memory at offset %u", verb, granule * kGranule);
    check_order(warp, lane, granule, write, atomic, at, verb);
  }
}

void RaceChecker::check_overwritten(const Warp& warp, int lane, uint32_t first, uint32_t last,
                                    bool atomic, const Location& at, const char* verb) const {
  uint64_t checked = 0;
  for (uint32_t granule = first; granule <= last; ++granule) {
    const Write& write = writes_[granule];
    uint64_t bits;
    __builtin_memcpy(&bits, &write, sizeof bits);
    if (bits == checked && granule > first) continue;
    checked = bits;
    if (write.time > start_) check_order(warp, lane, granule, write, atomic, at, verb);
  }
}

void RaceChecker::check_readers(const Warp& warp, int lane, uint32_t first, uint32_t last,
                                const Location& at, const char* verb) const {
  for (int other = 0; other < warps_; ++other) {
    const uint32_t* times = reads(other);
    if (other == warp.index) {
      const uint32_t seen = warp.threads[lane]->seen;
      const uint8_t* who = readers(other);
      for (uint32_t granule = first; granule <= last; ++granule) {
        if (times[granule] >= seen && who[granule] != lane && who[granule] != kCollective)
          fail(at, "race: %s at shared offset %u is not ordered after a read by another lane of warp %d "
               "(no sync_warp between)", verb, granule * kGranule, other);
      }
      continue;
    }
    const uint32_t known = warp.clock.time[other];
    uint32_t latest = 0;
    for (uint32_t granule = first; granule <= last; ++granule) latest = std::max(latest, times[granule]);
    if (latest > known)
      fail(at, "race: %s at shared offset %u is not ordered after a read by warp %d (no barrier between)",
           verb, first * kGranule, other);
  }
}

void RaceChecker::mark(const Warp& warp, int lane, uint32_t first, uint32_t last, Flag flags,
                       const Location& at) {
  const Write write{warp.clock.time[warp.index], sites.index(at), static_cast<uint8_t>(warp.index),
                    static_cast<uint8_t>(lane), static_cast<uint8_t>(flags)};
  std::fill(writes_.begin() + first, writes_.begin() + last + 1, write);
}

void RaceChecker::load(Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const uint32_t first = offset / kGranule, last = (offset + static_cast<uint32_t>(bytes) - 1) / kGranule;
  const Warp& warp = *thread.warp;
  check_written(warp, thread.lane, first, last, false, at, "load");
  uint32_t* times = reads(warp.index);
  uint8_t* who = readers(warp.index);
  const uint32_t now = warp.clock.time[warp.index];
  const uint8_t lane = static_cast<uint8_t>(thread.lane);
  for (uint32_t granule = first; granule <= last; ++granule) {
    const bool shared = times[granule] == now && who[granule] != lane && who[granule] != kCollective;
    who[granule] = shared ? kManyLanes : lane;
    times[granule] = now;
  }
}

void RaceChecker::collective_load(Warp& warp, int lane, uint32_t offset, int bytes, const Location& at) {
  const uint32_t first = offset / kGranule, last = (offset + static_cast<uint32_t>(bytes) - 1) / kGranule;
  check_written(warp, lane, first, last, false, at, "ldmatrix");
  uint32_t* times = reads(warp.index);
  uint8_t* who = readers(warp.index);
  const uint32_t now = warp.time();
  for (uint32_t granule = first; granule <= last; ++granule) {
    if (times[granule] == now) continue;  // a plain read at the same time must not be forgotten
    times[granule] = now;
    who[granule] = kCollective;
  }
}

void RaceChecker::store(Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const uint32_t first = offset / kGranule, last = (offset + static_cast<uint32_t>(bytes) - 1) / kGranule;
  check_readers(*thread.warp, thread.lane, first, last, at, "store");
  check_overwritten(*thread.warp, thread.lane, first, last, false, at, "store");
  mark(*thread.warp, thread.lane, first, last, kNone, at);
}

void RaceChecker::atomic(Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const uint32_t first = offset / kGranule, last = (offset + static_cast<uint32_t>(bytes) - 1) / kGranule;
  check_readers(*thread.warp, thread.lane, first, last, at, "atomic");
  check_written(*thread.warp, thread.lane, first, last, true, at, "atomic");
  mark(*thread.warp, thread.lane, first, last, kAtomic, at);
}

void RaceChecker::depart(Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const uint32_t first = offset / kGranule, last = (offset + static_cast<uint32_t>(bytes) - 1) / kGranule;
  check_readers(*thread.warp, thread.lane, first, last, at, "cp.async");
  check_overwritten(*thread.warp, thread.lane, first, last, false, at, "cp.async");
  mark(*thread.warp, thread.lane, first, last, kInFlight, at);
}

void RaceChecker::arrive(Thread& thread, uint32_t offset, int bytes) {
  const uint32_t first = offset / kGranule, last = (offset + static_cast<uint32_t>(bytes) - 1) / kGranule;
  for (uint32_t granule = first; granule <= last; ++granule) {
    writes_[granule].flags = kNone;
    writes_[granule].time = thread.warp->time();
  }
}

}  // namespace simt
