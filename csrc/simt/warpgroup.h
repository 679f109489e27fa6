// elect.sync and setmaxnreg.
#pragma once

#include <string>
#include <vector>

#include "simt/location.h"

namespace simt {

struct Block;
struct Thread;

constexpr int kWarpsOfGroup = 4;

/** What a thread is said to wait for while it waits for registers. */
inline constexpr char kRegisterWait[] = "setmaxnreg.inc";

/** Registers that warps have given back: a multiple of 32, one for each lane, counted by lane. */
struct RegisterPool {
  int free = 0;
  std::vector<Thread*> waiting;
};

/** Registers that each thread has when a block of `threads` starts: all that a multiprocessor has,
 *  as for a kernel whose launch bounds ask for one block. */
int registers_at_launch(int threads);

/** True for one lane of the warp; which one, the seed says. */
bool elect(const Location& at);

/** The registers of each thread of a warp grow to `count`, once the block has them. */
void take_registers(int count, const Location& at);
void give_registers(int count, const Location& at);

std::string describe_register_wait(const Thread& thread);
/** Reports warpgroups whose warps do not agree on their registers. */
void check_registers_at_end(const Block& block);

}  // namespace simt
