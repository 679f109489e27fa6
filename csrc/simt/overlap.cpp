#include "simt/overlap.h"

#include <utility>

#include "simt/execution.h"
#include "simt/footprint.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

Touched running;
thread_local Touched before;  // by the calling thread's last grid
bool recording = false;
bool waited = false;  // anybody in the running grid

bool has_instructions() { return execution.config.code_version >= 90; }

/** Whether the running thread may still run beside the primary. */
bool beside_primary() { return execution.config.dependent && !current->waited_for_primary; }

[[noreturn]] void fail_beside(const char* verb, const char* what, const void* pointer,
                              const Location& at) {
  fail(at,
       "race: global %s at %p of what the kernel in front %s: no wait_for_primary in this thread "
       "before it",
       verb, pointer, what);
}

}  // namespace

void begin_overlap() {
  recording = execution.config.check_races && has_instructions();
  waited = false;
}

void end_overlap() {
  if (recording && execution.config.dependent && !waited)
    note_failure(
        ": ends before its primary may have: no thread calls wait_for_primary, and who waits for "
        "this kernel would not wait for that one");
  std::swap(before, running);
  running.clear();
  recording = false;
}

void note_overlapping_read(const void* pointer, size_t bytes, const Location& at) {
  if (!recording) return;
  running.read.add(pointer, bytes);
  if (beside_primary() && before.written.meets(pointer, bytes))
    fail_beside("read", "writes", pointer, at);
}

void note_overlapping_write(const void* pointer, size_t bytes, const Location& at) {
  if (!recording) return;
  running.written.add(pointer, bytes);
  if (!beside_primary()) return;
  if (before.written.meets(pointer, bytes)) fail_beside("write", "writes", pointer, at);
  if (before.read.meets(pointer, bytes)) fail_beside("write", "reads", pointer, at);
}

void launch_dependents() {
  if (!has_instructions()) return;
  maybe_yield();
  Block& block = *current->block;
  counters().early_blocks += !block.launched_dependents;
  block.launched_dependents = true;
}

void wait_for_primary() {
  if (!has_instructions()) return;
  maybe_yield();
  current->waited_for_primary = waited = true;
}

}  // namespace simt
