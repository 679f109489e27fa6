#include "simt/proxy.h"

#include <algorithm>
#include <unordered_map>

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr uintptr_t kUnit = 16;  // bytes that are recorded together

/** Who wrote them last. */
struct GlobalWrite {
  unsigned block;
  bool by_engine;
  int warp, lane;
  uint32_t time;
  Location at;
};
std::unordered_map<uintptr_t, GlobalWrite> global_writes;  // of this grid, by address / kUnit

bool watches_global() {
  // Others have no engines.
  return execution.config.check_races && execution.config.compute_capability == 90;
}

template <class Visit>
void visit_units(const void* pointer, uint32_t bytes, Visit visit) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  for (uintptr_t unit = address / kUnit; unit <= (address + bytes - 1) / kUnit; ++unit) visit(unit);
}

void record(const void* pointer, uint32_t bytes, bool by_engine, const Location& at) {
  const GlobalWrite write{current->block->number, by_engine, current->warp->index, current->lane,
                          current->warp->time(),  at};
  visit_units(pointer, bytes, [&](uintptr_t unit) { global_writes[unit] = write; });
}

bool fenced_by(const Thread& thread, Space space, uint32_t time, uint32_t known) {
  const std::vector<uint32_t>& fences = thread.fences[space];
  const auto fence = std::lower_bound(fences.begin(), fences.end(), time);
  return fence != fences.end() && *fence < known;
}

/** Whether engines that act for the running thread know what a lane did to global memory. */
bool fenced(int warp, int lane, uint32_t time) {
  const VectorClock& clock = current->warp->clock;
  return clock.async_time[kGlobal][warp] >= time ||
         fenced_by_writer(*current->block, kGlobal, warp, lane, time, clock);
}

/** Whether the running thread knows of an acquire that no fence follows. */
bool knows_of_unfenced_acquire() {
  const auto unfenced = [](const Thread& thread) {
    const int warp = thread.warp->index;
    return thread.acquired != 0 && thread.acquired <= current->warp->clock.time[warp] &&
           !fenced(warp, thread.lane, thread.acquired);
  };
  return std::any_of(current->block->threads.begin(), current->block->threads.end(), unfenced);
}

}  // namespace

void proxy_fence(Space space) {
  maybe_yield();
  Warp& warp = *current->warp;
  VectorClock& clock = warp.clock;
  for (int agent = 0; agent < kAgents; ++agent) {
    // Of its own warp a lane knows what came before they last synchronised.
    const uint32_t known = agent == warp.index ? current->seen - 1 : clock.time[agent];
    uint32_t& time = clock.async_time[space][agent];
    time = std::max(time, known);
  }
  current->fences[space].push_back(warp.time());
  ++warp.time();  // what is written from now on is not covered
}

bool fenced_by_writer(const Block& block, Space space, int warp, int lane, uint32_t time,
                      const VectorClock& clock) {
  const Warp& writer = block.warps[static_cast<size_t>(warp)];
  const uint32_t known = clock.time[warp];
  if (lane >= 0) return fenced_by(*writer.threads[lane], space, time, known);
  return std::all_of(writer.threads, writer.threads + kLanes,
                     [&](const Thread* each) { return fenced_by(*each, space, time, known); });
}

void begin_proxies() { global_writes.clear(); }

void note_global_write(const void* pointer, uint32_t bytes, const Location& at) {
  if (watches_global()) record(pointer, bytes, false, at);
}

void note_acquire() { current->acquired = current->warp->time(); }

void check_async_access(const void* pointer, uint32_t bytes, bool writes, const Location& at) {
  if (!watches_global() || bytes == 0) return;
  if (!global_writes.empty()) {
    const bool unfenced = knows_of_unfenced_acquire();
    visit_units(pointer, bytes, [&](uintptr_t unit) {
      const auto found = global_writes.find(unit);
      if (found == global_writes.end()) return;
      const GlobalWrite& write = found->second;
      const bool own = write.block == current->block->number;
      const bool hidden =
          own ? !write.by_engine && !fenced(write.warp, write.lane, write.time) : unfenced;
      if (hidden)
        fail(at,
             "race: an engine accesses global memory that thread %d of block %u wrote at %s:%d: no "
             "fence_proxy_async_global %s",
             write.warp * kLanes + write.lane, write.block, write.at.file, write.at.line,
             own ? "between" : "after the acquire");
    });
  }
  if (writes) record(pointer, bytes, true, at);
}

}  // namespace simt
