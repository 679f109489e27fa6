// Ends the running grid with a message that names kernel, block, thread and source line.
#pragma once

#include <string>

#include "simt/location.h"

namespace simt {

struct Thread;

/** Notes why the grid failed; the first reason counts. `message` continues the kernel's name. */
void note_failure(const std::string& message);

/** Notes what the running thread did wrong, and leaves it. Does not unwind: the grid's threads are
 *  abandoned where they stand. */
[[noreturn]] void fail(const Location& at, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

/** Reports an instruction of sm_90a on a device that is no Hopper. */
void require_sm90(const char* what, const Location& at);

/** "forward.cu:118" */
std::string to_string(const Location& at);

/** printf into a string. */
std::string format(const char* format, ...) __attribute__((format(printf, 1, 2)));

/** What every suspended thread waits for, one line per group of lanes. */
std::string describe_waits();

}  // namespace simt
