// The order between streams that wait for each other's events. The executor runs work where it is
// enqueued, so that order is checked, not played: what a piece of work touches is held against all
// that work of other such streams touches which no event, and nobody who waited for it, puts before
// it. Memory is given back behind all work that touches it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "simt/include/cuda_runtime.h"

namespace simt {

/** What has ended by some point: of each stream, by number, so many pieces of work. */
using StreamTimes = std::map<uint64_t, uint64_t>;

/** What is known of a stream. */
struct StreamOrder {
  StreamOrder();

  const uint64_t number;
  StreamTimes ended;  // before its next piece of work begins; of itself what was enqueued
};

struct EventOrder {
  uint64_t stream = 0;  // on which it was recorded; 0: on none
  StreamTimes ended;
};

void note_record(const StreamOrder& stream, EventOrder& event);
void note_wait(StreamOrder& stream, const EventOrder& event);
/** The host knows that the work before the event, or all that the stream has, has ended. */
void note_observed(const StreamTimes& ended);

/**
 * A piece of work of a stream, which the calling thread runs while this object lives. Within
 * another one, such as a graph, it is part of that.
 */
class StreamWork {
 public:
  StreamWork(cudaStream_t stream, bool checked);
  ~StreamWork();
  StreamWork(const StreamWork&) = delete;
  StreamWork& operator=(const StreamWork&) = delete;

 private:
  bool outermost_;
};

/**
 * The running work touches global memory. Null, or what work of another stream does with the same
 * bytes, unordered: "reads" or "writes".
 */
const char* note_stream_access(const void* pointer, size_t bytes, bool write);

/** The same of memory that is given back in the order of a stream, after which nobody has it. */
const char* note_stream_free(cudaStream_t stream, const void* memory, size_t bytes);

}  // namespace simt
