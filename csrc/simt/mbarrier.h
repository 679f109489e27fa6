// mbarriers. Their 8 bytes are opaque: plain accesses to them are reported.
#pragma once

#include <cstdint>

#include "simt/location.h"

namespace simt {

void mbarrier_init(uint32_t address, int count, const Location& at);
void mbarrier_invalidate(uint32_t address, const Location& at);
/** fence.mbarrier_init: without it the asynchronous engines do not know of the barriers. */
void mbarrier_init_fence();
/** One arrival, which announces `bytes` of copies first. */
void mbarrier_arrive(uint32_t address, uint32_t bytes, const Location& at);
/** Gives up only when no other thread can run. */
bool mbarrier_try_wait(uint32_t address, int parity, const Location& at);
void mbarrier_wait(uint32_t address, int parity, const Location& at);

}  // namespace simt
