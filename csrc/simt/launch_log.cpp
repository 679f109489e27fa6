#include "simt/launch_log.h"

#include <mutex>
#include <utility>

namespace simt {

namespace {

std::mutex mutex;
bool keeping = false;
std::vector<Report> kept;

}  // namespace

void keep_reports() {
  const std::lock_guard<std::mutex> lock(mutex);
  keeping = true;
  kept.clear();
}

std::vector<Report> take_reports() {
  const std::lock_guard<std::mutex> lock(mutex);
  keeping = false;
  return std::exchange(kept, {});
}

void log_report(const Report& report) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (keeping) kept.push_back(report);
}

}  // namespace simt
