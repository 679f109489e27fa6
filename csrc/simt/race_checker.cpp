#include "simt/race_checker.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "simt/execution.h"
#include "simt/proxy.h"
#include "simt/report.h"

namespace simt {

namespace {

constexpr uint8_t kManyLanes = 0xfe;
/** Read by an instruction of the whole warp, which no lane can overtake. */
constexpr uint8_t kCollectively = 0xff;

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

std::string name_of_agent(int agent) {
  if (agent < kMaxWarps) return format("warp %d", agent);
  if (agent < bulk_agent(0)) return format("the tensor core for warp %d", agent - wgmma_agent(0));
  if (agent < mbarrier_agent(0)) return format("a bulk copy of warp %d", agent - bulk_agent(0));
  return "a copy that completes on an mbarrier";
}

bool same(const void* a, const void* b) {  // two records of 8 bytes
  return std::memcmp(a, b, 8) == 0;
}

}  // namespace

void RaceChecker::reset(size_t bytes, int warps) {
  constexpr uint32_t kWrapAround = uint32_t{1} << 31;
  if (bytes == bytes_ && warps == warps_ && start_ < kWrapAround) return;
  bytes_ = bytes;
  warps_ = warps;
  start_ = 0;
  chunks_.assign((bytes + kChunk - 1) / kChunk, Write{});
  writes_.assign(chunks_.size() * kChunk, Write{});
  reads_.assign(bytes * static_cast<size_t>(warps), 0);
  readers_.assign(bytes * static_cast<size_t>(warps), 0);
  for (std::vector<uint32_t>& each : chunk_reads_) each.clear();
  reading_agents_.clear();
}

RaceChecker::Access RaceChecker::access(const Thread& thread, uint32_t offset, uint32_t bytes,
                                        Kind kind, const char* verb, const Location& at) {
  return {.warp = *thread.warp,
          .lane = thread.lane,
          .seen = thread.seen,
          .begin = offset,
          .end = offset + bytes,
          .kind = kind,
          .verb = verb,
          .at = at};
}

RaceChecker::Access RaceChecker::collective(const Warp& warp, uint32_t offset, uint32_t bytes,
                                            Kind kind, const char* verb, const Location& at) {
  uint32_t seen = UINT32_MAX;
  for (const Thread* thread : warp.threads) seen = std::min(seen, thread->seen);
  return {.warp = warp,
          .lane = kWholeWarp,
          .seen = seen,
          .begin = offset,
          .end = offset + bytes,
          .kind = kind,
          .verb = verb,
          .at = at};
}

// ── By threads ───────────────────────────────────────────────────────────────────────────────────

void RaceChecker::load(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access load = access(thread, offset, static_cast<uint32_t>(bytes), kPlain, "load", at);
  check_after_writes(load, kMustBeInitialised);
  mark_read(*thread.warp, load.begin, load.end, static_cast<uint8_t>(thread.lane));
}

void RaceChecker::collective_load(const Warp& warp, uint32_t offset, int bytes,
                                  const Location& at) {
  const Access load =
      collective(warp, offset, static_cast<uint32_t>(bytes), kPlain, "ldmatrix", at);
  check_after_writes(load, kMustBeInitialised);
  mark_read(warp, load.begin, load.end, kCollectively);
}

void RaceChecker::store(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access store = access(thread, offset, static_cast<uint32_t>(bytes), kPlain, "store", at);
  check_after_reads(store);
  check_after_writes(store, kMayBeNew);
  mark_written(store, thread.warp->index, thread.warp->time());
}

void RaceChecker::collective_store(const Warp& warp, uint32_t offset, int bytes,
                                   const Location& at) {
  const Access store =
      collective(warp, offset, static_cast<uint32_t>(bytes), kCollective, "stmatrix", at);
  check_after_reads(store);
  check_after_writes(store, kMayBeNew);
  mark_written(store, warp.index, warp.time());
}

void RaceChecker::atomic(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access update =
      access(thread, offset, static_cast<uint32_t>(bytes), kAtomic, "atomic operation", at);
  check_after_reads(update);
  check_after_writes(update, kMustBeInitialised);
  mark_written(update, thread.warp->index, thread.warp->time());
}

// ── By cp.async ──────────────────────────────────────────────────────────────────────────────────

void RaceChecker::depart(const Thread& thread, uint32_t offset, int bytes, const Location& at) {
  const Access copy =
      access(thread, offset, static_cast<uint32_t>(bytes), kCopyInFlight, "cp.async", at);
  check_after_reads(copy);
  check_after_writes(copy, kMayBeNew);
  mark_written(copy, thread.warp->index, thread.warp->time());
}

void RaceChecker::arrive(const Thread& thread, uint32_t offset, int bytes) {
  rewrite(offset, static_cast<uint32_t>(bytes), kPlain, thread.warp->index, thread.warp->time());
}

void RaceChecker::arrive_at_mbarrier(uint32_t offset, int bytes, int agent, uint32_t time) {
  rewrite(offset, static_cast<uint32_t>(bytes), kPlain, agent, time);
}

// ── By engines ───────────────────────────────────────────────────────────────────────────────────

void RaceChecker::engine_load(const Thread& thread, int agent, uint32_t time, uint32_t offset,
                              uint32_t bytes, const char* verb, const Location& at) {
  const Access load = access(thread, offset, bytes, kEngine, verb, at);
  check_after_writes(load, kMustBeInitialised);
  mark_chunks_read(agent, time, load.begin, load.end);
}

void RaceChecker::engine_depart(const Thread& thread, int agent, uint32_t time, uint32_t offset,
                                uint32_t bytes, const char* verb, const Location& at) {
  const Access store = access(thread, offset, bytes, kEngineInFlight, verb, at);
  check_after_reads(store);
  check_after_writes(store, kMayBeNew);
  mark_written(store, agent, time);
}

void RaceChecker::engine_arrive(int agent, uint32_t time, uint32_t offset, uint32_t bytes) {
  rewrite(offset, bytes, kEngine, agent, time);
}

void RaceChecker::operand_load(const Warp& warp, uint32_t time, const uint32_t* chunks,
                               size_t count, const Location& at) {
  Access load = collective(warp, 0, 0, kEngine, "wgmma", at);
  const int agent = wgmma_agent(warp.index);
  mark_chunks_read(agent, time, 0, 0);
  std::vector<uint32_t>& times = chunk_reads_[agent];
  Write last{};
  last.kind = kMixed;  // like no record
  for (size_t i = 0; i < count; ++i) {
    const uint32_t chunk = chunks[i];
    const Write& write = chunks_[chunk];
    if (write.kind == kMixed || !same(&write, &last)) {
      load.begin = chunk * kChunk;
      load.end = load.begin + kChunk;
      check_after_writes(load, kMustBeInitialised);
      last = write;
    }
    times[chunk] = time;
  }
}

// ── mbarriers ────────────────────────────────────────────────────────────────────────────────────

void RaceChecker::mbarrier_begin(const Thread& thread, uint32_t offset, const Location& at) {
  const Access init = access(thread, offset, 8, kMbarrier, "mbarrier.init", at);
  check_after_reads(init);
  check_after_writes(init, kMayBeNew);
  mark_written(init, thread.warp->index, thread.warp->time());
}

void RaceChecker::mbarrier_end(const Thread& thread, uint32_t offset, const Location& at) {
  const Access end = access(thread, offset, 8, kMbarrier, "mbarrier.inval", at);
  check_after_reads(end);
  check_after_writes(end, kMustBeInitialised);
  const Access plain = access(thread, offset, 8, kPlain, "mbarrier.inval", at);
  mark_written(plain, thread.warp->index, thread.warp->time());
}

void RaceChecker::mbarrier_access(const Thread& thread, uint32_t offset, const char* verb,
                                  const Location& at) {
  const Access access = RaceChecker::access(thread, offset, 8, kMbarrier, verb, at);
  check_after_writes(access, kMustBeInitialised);
  mark_read(*thread.warp, access.begin, access.end, static_cast<uint8_t>(thread.lane));
}

// ── The records ──────────────────────────────────────────────────────────────────────────────────

template <class Visit>
void RaceChecker::visit_writes(uint32_t begin, uint32_t end, Visit visit) const {
  const Write* last = nullptr;
  const auto once = [&](uint32_t offset, const Write& write) {
    if (last && same(last, &write)) return;
    last = &write;
    visit(offset, write);
  };
  for (uint32_t chunk = begin / kChunk; chunk * kChunk < end; ++chunk) {
    const uint32_t first = std::max(begin, chunk * kChunk);
    if (chunks_[chunk].kind != kMixed) {
      once(first, chunks_[chunk]);
      continue;
    }
    const uint32_t stop = std::min(end, (chunk + 1) * kChunk);
    for (uint32_t i = first; i < stop; ++i) once(i, writes_[i]);
  }
}

void RaceChecker::check_after_writes(const Access& access, Content content) const {
  visit_writes(access.begin, access.end, [&](uint32_t offset, const Write& write) {
    if (write.time > start_)
      check_order(access, offset, write);
    else if (content == kMustBeInitialised)
      fail(access.at, "%s of uninitialised shared memory at offset %u", access.verb, offset);
  });
}

void RaceChecker::check_order(const Access& access, uint32_t offset, const Write& write) const {
  if (write.kind == kMbarrier && access.kind != kMbarrier)
    race(access, offset, write, "there is an mbarrier");
  if (write.kind == kCopyInFlight || write.kind == kEngineInFlight)
    race(access, offset, write, "asynchronous copy in flight");
  if (access.kind == kAtomic && write.kind == kAtomic) return;
  if (access.warp.clock.time[write.agent] < write.time)
    race(access, offset, write,
         write.agent < kMaxWarps ? "no barrier between" : "no wait for the mbarrier between");
  const bool same_lane = write.lane == access.lane && write.kind != kCollective;
  if (write.agent == access.warp.index && !same_lane && write.time >= access.seen)
    race(access, offset, write, "no sync_warp between");
  const auto visible_to_engines = [&] {
    if (write.kind == kEngine || access.warp.clock.async_time[kShared][write.agent] >= write.time)
      return true;
    const int lane = write.kind == kCollective ? kWholeWarp : write.lane;
    return write.agent < kMaxWarps && fenced_by_writer(*access.warp.block, kShared, write.agent,
                                                       lane, write.time, access.warp.clock);
  };
  if (access.asynchronous() && !visible_to_engines())
    race(access, offset, write, "no fence_proxy_async between");
}

void RaceChecker::check_after_reads(const Access& access) const {
  const uint32_t first = access.begin / kChunk, stop = (access.end + kChunk - 1) / kChunk;
  for (const int agent : reading_agents_) {
    const bool own = agent == access.warp.index;
    const uint32_t known = own ? access.seen - 1 : access.warp.clock.time[agent];
    const uint32_t* chunks = chunk_reads_[agent].data();
    uint32_t latest = 0;
    for (uint32_t chunk = first; chunk < stop; ++chunk) latest = std::max(latest, chunks[chunk]);
    if (latest <= known) continue;
    if (agent >= kMaxWarps)
      fail(access.at,
           "race: %s at shared offset %u is not ordered after a read by %s (no wait for it, or no "
           "barrier after the wait)",
           access.verb, access.begin, name_of_agent(agent).c_str());
    const uint32_t* times = &reads_[row(agent)];
    const uint8_t* who = &readers_[row(agent)];
    for (uint32_t i = access.begin; i < access.end; ++i) {
      if (times[i] <= known) continue;
      if (!own)
        fail(access.at,
             "race: %s at shared offset %u is not ordered after a read by warp %d (no barrier "
             "between)",
             access.verb, i, agent);
      if (who[i] != access.lane && who[i] != kCollectively)
        fail(access.at,
             "race: %s at shared offset %u is not ordered after a read by another lane of warp %d "
             "(no sync_warp between)",
             access.verb, i, agent);
    }
  }
}

void RaceChecker::mark_read(const Warp& warp, uint32_t begin, uint32_t end, uint8_t reader) {
  const uint32_t now = warp.time();
  uint32_t* times = &reads_[row(warp.index)];
  uint8_t* who = &readers_[row(warp.index)];
  for (uint32_t i = begin; i < end; ++i) {
    if (reader == kCollectively) {
      who[i] = times[i] == now ? who[i] : kCollectively;  // a plain read must not be forgotten
    } else {
      const bool others = times[i] == now && who[i] != reader && who[i] != kCollectively;
      who[i] = others ? kManyLanes : reader;
    }
    times[i] = now;
  }
  mark_chunks_read(warp.index, now, begin, end);
}

void RaceChecker::mark_chunks_read(int agent, uint32_t time, uint32_t begin, uint32_t end) {
  std::vector<uint32_t>& times = chunk_reads_[agent];
  if (times.empty()) {
    times.assign(chunks_.size(), 0);
    reading_agents_.push_back(agent);
  }
  for (uint32_t chunk = begin / kChunk; chunk * kChunk < end; ++chunk) times[chunk] = time;
}

void RaceChecker::mark_written(const Access& access, int agent, uint32_t time) {
  write(access.begin, access.end,
        {time, sites.index(access.at), static_cast<uint8_t>(agent),
         static_cast<uint8_t>(access.lane), access.kind});
}

void RaceChecker::write(uint32_t begin, uint32_t end, const Write& write) {
  for (uint32_t i = begin; i < end;) {
    const uint32_t chunk = i / kChunk, stop = std::min(end, (chunk + 1) * kChunk);
    if (stop - i == kChunk) {
      chunks_[chunk] = write;
    } else {
      Write* bytes = &writes_[chunk * kChunk];
      if (chunks_[chunk].kind != kMixed) {
        std::fill(bytes, bytes + kChunk, chunks_[chunk]);
        chunks_[chunk].kind = kMixed;
      }
      std::fill(writes_.begin() + i, writes_.begin() + stop, write);
    }
    i = stop;
  }
}

void RaceChecker::rewrite(uint32_t offset, uint32_t bytes, Kind kind, int agent, uint32_t time) {
  const uint32_t end = offset + bytes;
  for (uint32_t i = offset; i < end; i = std::min(end, (i / kChunk + 1) * kChunk)) {
    const Write& departed = chunks_[i / kChunk].kind == kMixed ? writes_[i] : chunks_[i / kChunk];
    Write arrived = departed;
    arrived.kind = kind;
    arrived.agent = static_cast<uint8_t>(agent);
    arrived.time = time;
    write(i, std::min(end, (i / kChunk + 1) * kChunk), arrived);
  }
}

void RaceChecker::race(const Access& access, uint32_t offset, const Write& write,
                       const char* why) const {
  const std::string lane = write.agent < kMaxWarps ? format(", lane %d", write.lane) : "";
  fail(access.at, "race: %s at shared offset %u is not ordered after the write by %s%s at %s (%s)",
       access.verb, offset, name_of_agent(write.agent).c_str(), lane.c_str(),
       to_string(sites[write.site]).c_str(), why);
}

}  // namespace simt
