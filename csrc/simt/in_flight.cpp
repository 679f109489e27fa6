#include "simt/in_flight.h"

#include <algorithm>
#include <utility>

#include "simt/execution.h"
#include "simt/report.h"

namespace simt {

namespace {

void land(Block& block, const EngineLoad& load) {
  Mbarrier& barrier = block.mbarriers[static_cast<size_t>(load.mbarrier)];
  const uint32_t time = barrier.time(block.shared.checker().start());
  load.land(barrier.agent, time);
  barrier.landed = time;
  barrier.landed_at = load.at;
  mbarrier_complete(block, load.mbarrier, load.bytes, load.arrival);
}

bool needs_nothing(const EngineStore& store) {
  return store.waited && store.state == EngineStore::kWritten;
}

/** Stores go on before their wait, each to its next state. */
std::vector<EngineStore*> unfinished_stores(Block& block) {
  std::vector<EngineStore*> unfinished;
  for (EngineStore& each : block.in_flight.stores)
    if (each.state != EngineStore::kWritten) unfinished.push_back(&each);
  return unfinished;
}

bool deliver_one(Block& block) {
  std::vector<EngineLoad>& loads = block.in_flight.loads;
  const std::vector<EngineStore*> stores = unfinished_stores(block);
  if (loads.empty() && stores.empty()) return false;
  const size_t which = random_bits() % (loads.size() + stores.size());
  if (which < loads.size()) {
    const EngineLoad load = std::move(loads[which]);
    loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(which));
    land(block, load);
  } else {
    EngineStore& store = *stores[which - loads.size()];
    advance(block, store,
            store.state == EngineStore::kIssued ? EngineStore::kRead : EngineStore::kWritten);
  }
  return true;
}

}  // namespace

bool acts_at_once() {
  switch (execution.config.delivery) {
    case Delivery::kLate: return false;
    case Delivery::kEager: return true;
    case Delivery::kRandom: break;
  }
  return random_bits() & 1;
}

void start_load(EngineLoad load) {
  Block& block = *current->block;
  if (acts_at_once())
    land(block, load);
  else
    block.in_flight.loads.push_back(std::move(load));
}

void start_store(EngineStore store) {
  Block& block = *current->block;
  std::vector<EngineStore>& stores = block.in_flight.stores;
  stores.erase(std::remove_if(stores.begin(), stores.end(), needs_nothing), stores.end());
  stores.push_back(std::move(store));
  if (acts_at_once()) advance(block, stores.back(), EngineStore::kWritten);
}

void advance(Block& block, EngineStore& store, EngineStore::State until) {
  if (store.state == EngineStore::kIssued) {
    const uint8_t* source = block.shared.data() + store.offset;
    store.data.assign(source, source + store.bytes);
    store.state = EngineStore::kRead;
  }
  if (store.state == EngineStore::kRead && until == EngineStore::kWritten) {
    store.write(store.data.data());
    store.state = EngineStore::kWritten;
    ++execution.progress;
  }
}

bool deliver_one() {
  const size_t count = execution.blocks.size();
  if (!count) return false;
  const size_t first = random_bits() % count;
  for (size_t i = 0; i < count; ++i) {
    Block& block = *execution.blocks[(first + i) % count];
    if (block.active && deliver_one(block)) return true;
  }
  return false;
}

void check_stores_at_release(const Thread& thread, const Location& at) {
  for (const EngineStore& store : thread.block->in_flight.stores)
    if (store.issuer == &thread && !store.complete)
      fail(at, "st.release before the bulk copy at %s is known to be complete",
           to_string(store.at).c_str());
}

void check_stores_at_exit(const Thread& thread) {
  for (const EngineStore& store : thread.block->in_flight.stores)
    if (store.issuer == &thread && !store.waited)
      fail(store.at, "the thread exits before its bulk copy is known to have read shared memory");
}

void finish_in_flight(Block& block) {
  for (EngineStore& store : block.in_flight.stores) advance(block, store, EngineStore::kWritten);
  block.in_flight.stores.clear();
  const auto report = [&](const Location& at) {
    note_failure(
        format(", block (%u, %u, %u), %s: the block ends with a copy that nobody waited for",
               block.index.x, block.index.y, block.index.z, to_string(at).c_str()));
  };
  for (const EngineLoad& load : block.in_flight.loads) report(load.at);
  block.in_flight.loads.clear();
  for (const Mbarrier& barrier : block.mbarriers) {
    uint32_t known = barrier.agent < 0 ? barrier.landed : 0;
    for (const Warp& warp : block.warps)
      if (barrier.agent >= 0) known = std::max(known, warp.clock.time[barrier.agent]);
    if (known < barrier.landed) report(barrier.landed_at);
  }
}

}  // namespace simt
