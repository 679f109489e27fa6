#include "simt/warp.h"

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr const char* kShuffleNames[] = {"shfl.xor", "shfl.idx", "shfl.down", "shfl.up"};

struct ShuffleArguments {
  uint32_t in, out;
  int source;
};

struct BallotArguments {
  bool in;
  uint32_t out;
};

int shuffle_source(Shuffle kind, int lane, int operand) {
  switch (kind) {
    case Shuffle::kXor: return (lane ^ operand) & (kLanes - 1);
    case Shuffle::kIndex: return operand & (kLanes - 1);
    case Shuffle::kDown: return lane + operand < kLanes ? lane + operand : lane;
    case Shuffle::kUp: return lane - operand >= 0 ? lane - operand : lane;
  }
  return lane;
}

template <class Arguments>
Arguments& arguments_of(Warp& warp, int lane) {
  return *static_cast<Arguments*>(warp.arguments[lane]);
}

}  // namespace

Warp& current_warp() { return *current->warp; }

bool join(const char* what, uint32_t mask, void* arguments, const Location& at) {
  Warp& warp = *current->warp;
  const uint32_t self = 1u << current->lane;
  if (!(mask & self)) fail(at, "%s with mask %08x, which lacks the calling lane", what, mask);
  if (mask & ~warp.alive)
    fail(at, "%s with mask %08x, of which lanes %08x have exited or never were", what, mask,
         mask & ~warp.alive);

  Rendezvous* free = nullptr;
  Rendezvous* meeting = nullptr;
  for (Rendezvous& each : warp.rendezvous) {
    if (!each.arrived) {
      free = &each;
      continue;
    }
    // Either the lanes agree on a mask, or each would wait for the other.
    const bool same = each.mask == mask;
    const bool mutual = (each.mask & self) && (each.arrived & mask);
    if ((same || mutual) && !(same && each.what == what && each.at == at))
      fail(at, "divergent warp: %s with mask %08x meets %s with mask %08x at %s", what, mask,
           each.what, each.mask, to_string(each.at).c_str());
    if (same) meeting = &each;
  }
  if (!meeting) {
    if (!free) fail(at, "%s: more than %d collectives under way in one warp", what, kRendezvous);
    meeting = free;
    meeting->mask = mask;
    meeting->what = what;
    meeting->at = at;
  }
  warp.arguments[current->lane] = arguments;
  meeting->arrived |= self;
  if (meeting->arrived != mask) return false;
  meeting->arrived = 0;
  if (mask == warp.alive) warp.accesses.flush();
  return true;
}

void wait_for_release(const char* what, const Location& at) { block_current(what, at); }

void release(uint32_t mask) { wake_lanes(*current->warp, mask); }

void check_rendezvous_at_exit(const Thread& thread) {
  for (const Rendezvous& each : thread.warp->rendezvous) {
    if (each.arrived && (each.mask >> thread.lane & 1))
      fail({}, "the thread exits while lanes %08x wait for it in %s at %s", each.arrived, each.what,
           to_string(each.at).c_str());
  }
}

void synchronise_lanes(Warp& warp, uint32_t mask) {
  const uint32_t now = ++warp.time();
  for (uint32_t rest = mask; rest; rest &= rest - 1) warp.threads[__builtin_ctz(rest)]->seen = now;
}

void warp_sync(uint32_t mask, const Location& at) {
  collective("sync_warp", mask, nullptr, at, [mask](Warp& warp) {
    ++counters().warp_syncs;
    synchronise_lanes(warp, mask);
  });
}

uint32_t ballot(bool predicate, uint32_t mask, const Location& at) {
  BallotArguments own{predicate, 0};
  collective("vote", mask, &own, at, [mask](Warp& warp) {
    ++counters().votes;
    uint32_t result = 0;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
      const int lane = __builtin_ctz(rest);
      result |= uint32_t{arguments_of<BallotArguments>(warp, lane).in} << lane;
    }
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      arguments_of<BallotArguments>(warp, __builtin_ctz(rest)).out = result;
  });
  return own.out;
}

uint32_t shuffle_bits(Shuffle kind, uint32_t bits, int operand, uint32_t mask, const Location& at) {
  ShuffleArguments own{bits, 0, shuffle_source(kind, current->lane, operand)};
  const char* name = kShuffleNames[static_cast<int>(kind)];
  if (!(mask >> own.source & 1))
    fail(at, "%s reads lane %d, which mask %08x lacks: the result is undefined", name, own.source,
         mask);
  collective(name, mask, &own, at, [mask](Warp& warp) {
    ++counters().shuffles;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
      ShuffleArguments& lane = arguments_of<ShuffleArguments>(warp, __builtin_ctz(rest));
      lane.out = arguments_of<ShuffleArguments>(warp, lane.source).in;
    }
  });
  return own.out;
}

}  // namespace simt
