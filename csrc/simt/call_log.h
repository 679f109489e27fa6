// The calls of the CUDA runtime that a piece of work made, for tests that count them.
#pragma once

#include <string>
#include <vector>

namespace simt {

struct Call {
  std::string function;
  int current;         // the calling thread's device
  int device;          // that the call is about, by its stream or event
  std::string detail;  // the kernel of a launch
};

/** From now on calls are kept, until take_calls(). */
void keep_calls();

/** The calls since keep_calls(), of all threads, in their order; no further ones are kept. */
std::vector<Call> take_calls();

/**
 * For the runtime: adds a call if calls are kept, and a line of it to the file that
 * FLASH_ATTENTION_SIMT_CALLS names.
 */
void log_call(const char* function, int current, int device, const char* detail = "");

}  // namespace simt
