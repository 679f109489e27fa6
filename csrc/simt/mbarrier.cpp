#include "simt/mbarrier.h"

#include <algorithm>

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr int kMaxCount = (1 << 20) - 1;  // of arrivals and of bytes (PTX ISA, "mbarrier object")

/** The mbarrier at `offset`; null if there is none. */
Mbarrier* find(Block& block, uint32_t offset) {
  for (Mbarrier& each : block.mbarriers)
    if (each.offset == offset && each.count) return &each;
  return nullptr;
}

/** The mbarrier at `address`, of which the running thread must know. */
Mbarrier& known(uint32_t address, const char* what, const Location& at) {
  Block& block = *current->block;
  const uint32_t offset = block.shared.offset(address, 8, at);
  Mbarrier* barrier = find(block, offset);
  if (!barrier) fail(at, "%s: there is no mbarrier at shared offset %u", what, offset);
  if (execution.config.check_races)
    block.shared.checker().mbarrier_access(*current, offset, what, at);
  return *barrier;
}

void complete_if_all_are_in(Block& block, Mbarrier& barrier) {
  if (barrier.pending || barrier.pending_bytes) return;
  barrier.completed.join(barrier.arrived);
  if (barrier.agent >= 0)
    barrier.completed.time[barrier.agent] = barrier.time(block.shared.checker().start());
  barrier.arrived = {};
  barrier.pending = barrier.count;
  barrier.parity ^= 1;
  ++barrier.phase;
  ++execution.progress;
  for (Thread* thread : barrier.waiting) {
    thread->polling = false;
    wake(*thread);
  }
  barrier.waiting.clear();
}

void check_parity(int parity, const Location& at) {
  if (parity != 0 && parity != 1) fail(at, "mbarrier wait for parity %d: expected 0 or 1", parity);
}

/** Takes over what the completed phases have released, if that of `parity` is among them. */
bool acquire(Mbarrier& barrier, int parity) {
  if (barrier.parity == parity) return false;
  Warp& warp = *current->warp;
  warp.clock.join(barrier.completed);
  // What other lanes of its own warp did before they arrived, this lane knows now, too.
  current->seen = std::max(current->seen, barrier.completed.time[warp.index] + 1);
  return true;
}

void suspend(Mbarrier& barrier, int parity, const Location& at) {
  barrier.waiting.push_back(current);
  current->mbarrier = {barrier.offset, parity};
  block_current(kMbarrierWait, at);
}

}  // namespace

void mbarrier_init(uint32_t address, int count, const Location& at) {
  maybe_yield();
  Block& block = *current->block;
  const uint32_t offset = block.shared.offset(address, 8, at);
  if (count < 1 || count > kMaxCount)
    fail(at, "mbarrier.init for %d arrivals: expected 1 to %d", count, kMaxCount);
  if (find(block, offset))
    fail(at, "mbarrier.init: there is an mbarrier at shared offset %u already", offset);
  if (execution.config.check_races) block.shared.checker().mbarrier_begin(*current, offset, at);
  const auto former = std::find_if(block.mbarriers.begin(), block.mbarriers.end(),
                                   [&](const Mbarrier& each) { return each.offset == offset; });
  Mbarrier& barrier = former == block.mbarriers.end() ? block.mbarriers.emplace_back() : *former;
  barrier.offset = offset;
  barrier.count = barrier.pending = count;
  barrier.pending_bytes = 0;
  barrier.parity = 0;
  barrier.fenced = false;
  barrier.initialiser = current;
  barrier.at = at;
}

void mbarrier_invalidate(uint32_t address, const Location& at) {
  maybe_yield();
  Mbarrier& barrier = known(address, "mbarrier.inval", at);
  if (!barrier.waiting.empty()) fail(at, "mbarrier.inval while threads wait for it");
  if (execution.config.check_races)
    current->block->shared.checker().mbarrier_end(*current, barrier.offset, at);
  barrier.count = 0;
}

void mbarrier_init_fence() {
  for (Mbarrier& barrier : current->block->mbarriers)
    if (barrier.initialiser == current) barrier.fenced = true;
}

void mbarrier_arrive(uint32_t address, uint32_t bytes, const Location& at) {
  maybe_yield();
  Mbarrier& barrier = known(address, "mbarrier.arrive", at);
  if (bytes > static_cast<uint32_t>(kMaxCount))
    fail(at, "mbarrier.arrive.expect_tx of %u bytes: at most %d", bytes, kMaxCount);
  if (barrier.pending == 0)
    fail(at,
         "mbarrier at shared offset %u: more than %d arrivals in a phase, which still waits for "
         "%lld "
         "bytes",
         barrier.offset, barrier.count, static_cast<long long>(barrier.pending_bytes));
  Warp& warp = *current->warp;
  barrier.arrived.join(warp.clock);
  ++warp.time();
  barrier.pending_bytes += bytes;
  --barrier.pending;
  complete_if_all_are_in(*current->block, barrier);
}

bool mbarrier_try_wait(uint32_t address, int parity, const Location& at) {
  maybe_yield();
  check_parity(parity, at);
  Mbarrier& barrier = known(address, "mbarrier.try_wait", at);
  if (acquire(barrier, parity)) return true;
  current->polling = true;
  suspend(barrier, parity, at);
  Mbarrier* const again = find(*current->block, current->mbarrier.offset);
  if (!again) fail(at, "the mbarrier has been invalidated during the wait");
  auto& waiting = again->waiting;
  waiting.erase(std::remove(waiting.begin(), waiting.end(), current), waiting.end());
  return acquire(*again, parity);
}

void mbarrier_wait(uint32_t address, int parity, const Location& at) {
  maybe_yield();
  check_parity(parity, at);
  Mbarrier* barrier = &known(address, "mbarrier wait", at);
  while (!acquire(*barrier, parity)) {
    suspend(*barrier, parity, at);
    barrier = find(*current->block, current->mbarrier.offset);
    if (!barrier) fail(at, "the mbarrier has been invalidated during the wait");
  }
}

int mbarrier_for_copy(uint32_t address, const char* what, const Location& at) {
  Block& block = *current->block;
  Mbarrier& barrier = known(address, what, at);
  if (!barrier.fenced)
    fail(at, "%s: the mbarrier initialised at %s has not been fenced (fence_mbar_init)", what,
         to_string(barrier.at).c_str());
  if (barrier.agent < 0) {
    int agents = 0;
    for (const Mbarrier& each : block.mbarriers) agents += each.agent >= 0;
    if (agents == kMaxMbarriers)
      fail(at, "%s: the model has %d mbarriers that copies complete on", what, kMaxMbarriers);
    barrier.agent = mbarrier_agent(agents);
  }
  return static_cast<int>(&barrier - block.mbarriers.data());
}

void mbarrier_complete(Block& block, int index, uint32_t bytes, bool arrival) {
  Mbarrier& barrier = block.mbarriers[static_cast<size_t>(index)];
  barrier.pending_bytes -= bytes;
  barrier.pending -= arrival;
  complete_if_all_are_in(block, barrier);
}

std::string describe_mbarrier_wait(const Thread& thread) {
  const Mbarrier* barrier = find(*thread.block, thread.mbarrier.offset);
  std::string text =
      format(" at shared offset %u for parity %d", thread.mbarrier.offset, thread.mbarrier.parity);
  if (barrier)
    text += format(" (phase %u, of parity %d, waits for %d of %d arrivals and %lld bytes)",
                   barrier->phase, barrier->parity, barrier->pending, barrier->count,
                   static_cast<long long>(barrier->pending_bytes));
  return text;
}

}  // namespace simt
