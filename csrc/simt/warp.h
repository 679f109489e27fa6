// Operations that the lanes of a warp carry out together. Each lane leaves a pointer to its
// arguments; the last one to arrive does the work for all.
#pragma once

#include <cstdint>

#include "simt/location.h"

namespace simt {

struct Thread;
struct Warp;
struct Block;

constexpr int kRendezvous = 4;  // that can be under way in one warp, with different masks

/** Lanes that wait for each other. */
struct Rendezvous {
  uint32_t mask = 0, arrived = 0;
  const char* what = nullptr;
  Location at;
};

/**
 * Joins the collective `what` of the lanes in `mask`; true for the last lane, which must then do
 * the work and call release. Lanes that meet with another operation, mask or source line are
 * reported.
 */
bool join(const char* what, uint32_t mask, void* arguments, const Location& at);
void wait_for_release(const char* what, const Location& at);
void release(uint32_t mask);
Warp& current_warp();

/** `work(warp)` is called once, by the last lane of `mask`. */
template <class Work>
void collective(const char* what, uint32_t mask, void* arguments, const Location& at, Work work) {
  if (join(what, mask, arguments, at)) {
    work(current_warp());
    release(mask);
  } else {
    wait_for_release(what, at);
  }
}

/** Reports a thread that exits while others of its warp wait for it. */
void check_rendezvous_at_exit(const Thread& thread);

/** Makes the shared-memory accesses of the lanes in `mask` visible to each other. */
void synchronise_lanes(Warp& warp, uint32_t mask);

void warp_sync(uint32_t mask, const Location& at);
uint32_t ballot(bool predicate, uint32_t mask, const Location& at);

enum class Shuffle { kXor, kIndex, kDown, kUp };
uint32_t shuffle_bits(Shuffle kind, uint32_t bits, int operand, uint32_t mask, const Location& at);

template <class T>
T shuffle(Shuffle kind, T value, int operand, uint32_t mask, const Location& at) {
  static_assert(sizeof(T) == sizeof(uint32_t));
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  bits = shuffle_bits(kind, bits, operand, mask, at);
  __builtin_memcpy(&value, &bits, sizeof bits);
  return value;
}

}  // namespace simt
