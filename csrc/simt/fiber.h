// Stacks and context switches.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

/** A suspended flow of control. */
struct Context {
  void* state = nullptr;
};

/**
 * A stack with a guard page below it, from a pool that keeps what it has. Throws std::bad_alloc.
 */
uint8_t* take_stack();
void give_back_stack(uint8_t* stack);

/**
 * Makes switching to `context` call `entry`, which must not return, on `stack`. `index` staggers
 * the stacks: with equal low address bits, the hot frames of all threads would share one cache set.
 */
void prepare(Context& context, uint8_t* stack, int index, void (*entry)());

/** Suspends the running flow in `from` and resumes `to`. */
void switch_context(Context& from, Context& to);

}  // namespace simt
