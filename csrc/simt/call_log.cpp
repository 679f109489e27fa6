#include "simt/call_log.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace simt {

namespace {

std::mutex mutex;
bool keeping = false;
std::vector<Call> kept;

/** The file of FLASH_ATTENTION_SIMT_CALLS; null without. Whoever waits for work may read it. */
std::FILE* file() {
  static std::FILE* const opened = [] {
    const char* const path = std::getenv("FLASH_ATTENTION_SIMT_CALLS");
    return path != nullptr && *path != '\0' ? std::fopen(path, "a") : nullptr;
  }();
  return opened;
}

}  // namespace

void keep_calls() {
  const std::lock_guard<std::mutex> lock(mutex);
  keeping = true;
  kept.clear();
}

std::vector<Call> take_calls() {
  const std::lock_guard<std::mutex> lock(mutex);
  keeping = false;
  return std::exchange(kept, {});
}

void log_call(const char* function, int current, int device, const char* detail) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (keeping) kept.push_back({function, current, device, detail});
  if (std::FILE* const to = file()) {
    std::fprintf(to, "%s %d %d %s\n", function, current, device, detail);
    std::fflush(to);
  }
}

}  // namespace simt
