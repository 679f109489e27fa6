// elect.sync and setmaxnreg.
#pragma once

#include "simt/location.h"

namespace simt {

/** True for one lane of the warp; which one, the seed says. */
bool elect(const Location& at);

/** The registers of each thread of a warpgroup grow to `count`, when the block's budget has them. */
void take_registers(int count, const Location& at);
void give_registers(int count, const Location& at);

}  // namespace simt
