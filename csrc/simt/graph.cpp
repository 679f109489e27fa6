#include "simt/graph.h"

#include <map>
#include <mutex>
#include <utility>

namespace simt {

namespace {

thread_local SimtStream* capturing = nullptr;

std::mutex mutex;
std::map<const char*, size_t> pinned;  // begin to bytes

}  // namespace

void begin_capture(SimtStream& stream) {
  stream.capture = std::make_unique<SimtGraph>(SimtGraph{stream.device, {}});
  capturing = &stream;
}

SimtGraph* end_capture(SimtStream& stream) {
  if (capturing == &stream) capturing = nullptr;
  const auto graph = std::exchange(stream.capture, nullptr);
  return graph->broken ? nullptr : new SimtGraph(*graph);
}

bool breaks_capture(cudaStream_t stream) {
  if (stream == nullptr || !stream->capture) return false;
  stream->capture->broken = true;
  return true;
}

bool breaks_capture() { return breaks_capture(capturing); }

void run_or_capture(cudaStream_t stream, std::function<void()> work) {
  if (stream != nullptr && stream->capture)
    stream->capture->nodes.push_back(std::move(work));
  else
    work();
}

void pin(const void* memory, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  pinned[static_cast<const char*>(memory)] = bytes;
}

void unpin(const void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  pinned.erase(static_cast<const char*>(memory));
}

bool is_pinned(const void* memory, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  const char* const at = static_cast<const char*>(memory);
  auto next = pinned.upper_bound(at);
  if (next == pinned.begin()) return false;
  --next;
  return at + bytes <= next->first + next->second;
}

}  // namespace simt
