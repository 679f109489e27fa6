// The generic proxy, through which threads access shared memory, and the async proxy, through which the
// engines do. What threads have written is visible to the engines only behind a proxy fence.
#pragma once

namespace simt {

struct Thread;

/** The thread has written to shared memory. */
void note_write(Thread& thread);

/** fence.proxy.async: what the running thread has written and knows of becomes visible to the engines,
 *  for it and for whoever synchronises with it afterwards. */
void proxy_fence();

}  // namespace simt
