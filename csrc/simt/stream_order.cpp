#include "simt/stream_order.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "simt/footprint.h"
#include "simt/graph.h"

namespace simt {

namespace {

/** A piece of work that somebody may not know to have ended. */
struct Work {
  uint64_t stream = 0, time = 0;
  std::shared_ptr<Touched> touched;
};

std::mutex mutex;
uint64_t streams = 0;
std::set<uint64_t> linked;  // streams that wait for an event of another one, or are waited for
std::vector<Work> recent;   // of those

/** What the calling thread runs. */
struct Running {
  Work work;                                      // touched is null: it is not recorded
  std::vector<std::shared_ptr<Touched>> besides;  // by unordered work
};
thread_local bool working = false;
thread_local Running running;

bool covers(const StreamTimes& ended, const Work& work) {
  const auto found = ended.find(work.stream);
  return found != ended.end() && found->second >= work.time;
}

void join(StreamTimes& ended, const StreamTimes& more) {
  for (const auto& [stream, time] : more) ended[stream] = std::max(ended[stream], time);
}

const char* met_by(const Touched& work, const void* pointer, size_t bytes, bool write) {
  if (work.written.meets(pointer, bytes)) return "writes";
  return write && work.read.meets(pointer, bytes) ? "reads" : nullptr;
}

}  // namespace

StreamOrder::StreamOrder()
    : number([] {
        const std::lock_guard<std::mutex> lock(mutex);
        return ++streams;
      }()) {}

void note_record(const StreamOrder& stream, EventOrder& event) {
  const std::lock_guard<std::mutex> lock(mutex);
  event = {stream.number, stream.ended};
}

void note_wait(StreamOrder& stream, const EventOrder& event) {
  const std::lock_guard<std::mutex> lock(mutex);
  join(stream.ended, event.ended);
  if (event.stream != 0 && event.stream != stream.number)
    linked.insert({stream.number, event.stream});
}

void note_observed(const StreamTimes& ended) {
  const std::lock_guard<std::mutex> lock(mutex);
  std::erase_if(recent, [&](const Work& work) { return covers(ended, work); });
}

StreamWork::StreamWork(cudaStream_t stream, bool checked) : outermost_(!working) {
  if (!outermost_) return;
  working = true;
  if (stream == nullptr) return;  // the default stream takes no part
  const std::lock_guard<std::mutex> lock(mutex);
  const uint64_t number = stream->order.number;
  StreamTimes& ended = stream->order.ended;
  const uint64_t time = ++ended[number];
  if (!checked || linked.count(number) == 0) return;
  running.work = {number, time, std::make_shared<Touched>()};
  for (const Work& work : recent)
    if (!covers(ended, work)) running.besides.push_back(work.touched);
}

StreamWork::~StreamWork() {
  if (!outermost_) return;
  working = false;
  if (running.work.touched) {
    const std::lock_guard<std::mutex> lock(mutex);
    recent.push_back(running.work);
  }
  running = {};
}

const char* note_stream_access(const void* pointer, size_t bytes, bool write) {
  if (!running.work.touched) return nullptr;
  const std::lock_guard<std::mutex> lock(mutex);  // others give memory back meanwhile
  Touched& touched = *running.work.touched;
  (write ? touched.written : touched.read).add(pointer, bytes);
  for (const auto& work : running.besides)
    if (const char* const met = met_by(*work, pointer, bytes, write)) return met;
  return nullptr;
}

const char* note_stream_free(cudaStream_t stream, const void* memory, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  const char* met = nullptr;
  for (const Work& work : recent) {
    if (met == nullptr && stream != nullptr && !covers(stream->order.ended, work))
      met = met_by(*work.touched, memory, bytes, true);
    work.touched->read.remove(memory, bytes);
    work.touched->written.remove(memory, bytes);
  }
  return met;
}

}  // namespace simt
