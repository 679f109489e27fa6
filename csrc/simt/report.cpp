#include "simt/report.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "simt/execution.h"
#include "simt/scheduler.h"
#include "simt/vocabulary.h"

namespace simt {

namespace {

std::string format_list(const char* pattern, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  std::string text(static_cast<size_t>(std::vsnprintf(nullptr, 0, pattern, arguments)), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

std::string to_string(const dim3& index) {
  return format("(%u, %u, %u)", index.x, index.y, index.z);
}

std::string describe_wait(const Thread& thread) {
  std::string text = thread.waits_for ? thread.waits_for : "nothing, it can run";
  if (thread.waits_for == kBarrierWait) {
    const Barrier& barrier = thread.block->barriers[thread.barrier];
    text += format(" %d (%d of %d threads arrived)", thread.barrier, barrier.arrived,
                   barrier.expected(thread.block->live));
  }
  if (thread.waits_for == kMbarrierWait) text += describe_mbarrier_wait(thread);
  if (thread.waits_for == kRegisterWait) text += describe_register_wait(thread);
  return text + " at " + to_string(thread.at);
}

bool same_wait(const Thread& a, const Thread& b) {
  return a.waits_for == b.waits_for && a.at == b.at && a.barrier == b.barrier &&
         a.mbarrier.offset == b.mbarrier.offset && a.mbarrier.parity == b.mbarrier.parity;
}

}  // namespace

std::string format(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  std::string text = format_list(pattern, arguments);
  va_end(arguments);
  return text;
}

std::string to_string(const Location& at) {
  const char* slash = std::strrchr(at.file, '/');
  return format("%s:%d", slash ? slash + 1 : at.file, at.line);
}

void note_failure(const std::string& message) {
  if (execution.failed) return;
  execution.failed = true;
  execution.error = format("kernel %s", execution.kernel) + message;
}

void fail(const Location& at, const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  const std::string message = format_list(pattern, arguments);
  va_end(arguments);
  const std::string thread = ", block " + to_string(block_index()) + ", thread " +
                             to_string(thread_index()) +
                             format(" (warp %d, lane %d)", current->warp->index, current->lane);
  note_failure(thread + (at.line ? ", " + to_string(at) : "") + ": " + message);
  return_to_main();
}

void require_sm90(const char* what, const Location& at) {
  const int found = execution.config.compute_capability;
  if (found != 90)
    fail(at, "%s, of sm_90a, on a device of compute capability %d.%d", what, found / 10,
         found % 10);
}

std::string describe_waits() {
  std::string text;
  for (const auto& block : execution.blocks) {
    if (!block->active) continue;
    for (const Warp& warp : block->warps) {
      uint32_t described = 0;
      for (int lane = 0; lane < kLanes; ++lane) {
        const Thread* thread = warp.threads[lane];
        if (!thread || thread->exited || (described >> lane & 1)) continue;
        uint32_t group = 0;
        for (int other = lane; other < kLanes; ++other) {
          const Thread* candidate = warp.threads[other];
          if (candidate && !candidate->exited && same_wait(*thread, *candidate))
            group |= 1u << other;
        }
        described |= group;
        text += format("\n  block (%u, %u, %u) warp %d lanes %08x: ", block->index.x,
                       block->index.y, block->index.z, warp.index, group) +
                describe_wait(*thread);
      }
    }
  }
  return text;
}

}  // namespace simt
