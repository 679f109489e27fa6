#include "simt/scheduler.h"

#include "simt/execution.h"
#include "simt/in_flight.h"
#include "simt/report.h"

namespace simt {

Execution execution;
Thread* current = nullptr;

namespace {

constexpr const char* kPolling = "a value that it polls";
constexpr int kIdleRounds = 64;  // rounds in which everybody polls and nothing changes: a deadlock
constexpr int kYieldInterval = 128;

uint64_t last_progress = 0;
int idle_rounds = 0;

/** A set bit of `bits`, any of them with about equal chance. */
int random_bit(uint64_t bits, uint64_t random) {
  const int start = static_cast<int>(random % 64);
  const uint64_t above = bits >> start;
  return above ? __builtin_ctzll(above) + start : __builtin_ctzll(bits);
}

/** Lets those who poll look again; false where that has led nowhere. */
bool wake_polling() {
  if (execution.progress != last_progress) {
    last_progress = execution.progress;
    idle_rounds = 0;
  }
  if (++idle_rounds > kIdleRounds) return false;
  bool any = false;
  for (const auto& block : execution.blocks) {
    if (!block->active) continue;
    for (Thread& thread : block->threads) {
      if (!thread.polling || thread.exited) continue;
      thread.polling = false;
      wake(thread);
      any = true;
    }
  }
  return any;
}

Warp& pick_warp() {
  const int here = current ? current->warp->slot : -1;
  switch (execution.config.policy) {
    case Policy::kInOrder: break;
    case Policy::kRandom: {
      const uint64_t random = random_bits();
      const bool stay = here >= 0 && (execution.ready >> here & 1) && (random & 7) != 0;
      return *execution.warps[stay ? here : random_bit(execution.ready, random >> 8)];
    }
    case Policy::kPriority: {
      if (current && random_bits() % 512 == 0)
        current->warp->priority = --execution.lowest_priority;
      Warp* best = nullptr;
      for (uint64_t rest = execution.ready; rest; rest &= rest - 1) {
        Warp& warp = *execution.warps[__builtin_ctzll(rest)];
        if (!best || warp.priority > best->priority) best = &warp;
      }
      return *best;
    }
  }
  return *execution.warps[__builtin_ctzll(execution.ready)];
}

/** Null when main has to go on. */
Thread* pick() {
  while (!execution.ready) {
    if (deliver_one()) continue;
    if (idle_rounds > 0 && execution.can_start_block) return nullptr;
    if (wake_polling()) continue;
    note_failure(": deadlock, every thread waits:" + describe_waits());
    return nullptr;
  }
  Warp& warp = pick_warp();
  const bool in_order = execution.config.policy == Policy::kInOrder;
  return warp
      .threads[in_order ? __builtin_ctz(warp.ready) : random_bit(warp.ready, random_bits() % 32)];
}

void switch_to(Thread* next) {
  if (next == current) return;
  Thread* previous = current;
  current = next;
  ++counters().context_switches;
  switch_context(previous ? previous->context : execution.main,
                 next ? next->context : execution.main);
}

void set_unready(Thread& thread) {
  Warp& warp = *thread.warp;
  warp.ready &= ~(1u << thread.lane);
  if (!warp.ready) execution.ready &= ~(uint64_t{1} << warp.slot);
}

}  // namespace

void wake_lanes(Warp& warp, unsigned mask) {
  warp.ready |= mask;
  execution.ready |= uint64_t{1} << warp.slot;
}

void wake(Thread& thread) { wake_lanes(*thread.warp, 1u << thread.lane); }

void block_current(const char* what, const Location& at) {
  Thread& self = *current;
  self.waits_for = what;
  self.at = at;
  set_unready(self);
  switch_to(pick());
  self.waits_for = nullptr;
}

void maybe_yield() {
  if (--execution.until_yield > 0) return;
  execution.until_yield = 1 + static_cast<int>(random_bits() % kYieldInterval);
  if (execution.config.delivery == Delivery::kRandom) deliver_one();
  if (execution.config.policy != Policy::kInOrder) switch_to(pick());
}

void spin_pause(const Location& at) {
  current->polling = true;
  block_current(kPolling, at);
}

void exit_thread() {
  Thread& self = *current;
  check_rendezvous_at_exit(self);
  check_copies_at_exit(self);
  check_stores_at_exit(self);
  check_products_at_exit(self);
  self.exited = true;
  self.warp->alive &= ~(1u << self.lane);
  set_unready(self);
  Block& block = *self.block;
  --block.live;
  ++execution.progress;
  barrier_after_exit(block);
  switch_to(block.live == 0 ? nullptr : pick());
  __builtin_unreachable();
}

void return_to_main() {
  switch_to(nullptr);
  __builtin_unreachable();
}

void run() {
  idle_rounds = 0;
  switch_to(pick());
}

}  // namespace simt
