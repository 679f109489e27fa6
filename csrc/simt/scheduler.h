// Which thread runs next. A thread runs until it blocks, exits, or is made to yield, and then hands
// over directly to its successor.
#pragma once

#include "simt/location.h"

namespace simt {

struct Thread;
struct Warp;
struct Block;

/**
 * Suspends the running thread until somebody wakes it. `what` must be a literal: reports compare
 * it.
 */
void block_current(const char* what, const Location& at);
void wake(Thread& thread);
/** Wakes the lanes of `mask`. */
void wake_lanes(Warp& warp, unsigned mask);

/** Now and then lets another thread run, as the hardware may between any two instructions. */
void maybe_yield();

/** Suspends a thread that polls until something has happened, or everybody else polls, too. */
void spin_pause(const Location& at);

/** Ends the running thread. */
[[noreturn]] void exit_thread();

/** Leaves the threads where they stand and resumes run(). */
[[noreturn]] void return_to_main();

/** Runs the resident blocks until one of them ends, or the execution fails, or all poll and
 *  execution.can_start_block says that a further block may help. */
void run();

}  // namespace simt
