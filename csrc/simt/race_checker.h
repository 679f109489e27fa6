// Happens-before over shared memory. Every byte remembers who wrote it last and when every warp and
// engine read it; an access that is not ordered after those by barriers is reported, whatever the
// schedule and the values were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt/location.h"
#include "simt/vector_clock.h"

namespace simt {

struct Thread;
struct Warp;

/** Bytes that are recorded together where one instruction has written all of them. */
constexpr uint32_t kChunk = 16;

class RaceChecker {
 public:
  /** Forgets what earlier blocks did, by moving on in time. */
  void reset(size_t bytes, int warps);
  /** Later than everything in blocks before this one. */
  uint32_t start() const { return start_; }
  /** The block is over: the next one begins after `time`. */
  void finish(uint32_t time) { start_ = time > start_ ? time : start_; }

  void load(const Thread& thread, uint32_t offset, int bytes, const Location& at);
  void store(const Thread& thread, uint32_t offset, int bytes, const Location& at);
  void atomic(const Thread& thread, uint32_t offset, int bytes, const Location& at);

  /** A load by the whole warp, whose lanes all get some of it (ldmatrix). */
  void collective_load(const Warp& warp, uint32_t offset, int bytes, const Location& at);
  /** A store by the whole warp, whose lanes all give some of it (stmatrix). */
  void collective_store(const Warp& warp, uint32_t offset, int bytes, const Location& at);

  /** The destination of a copy that may land at any time from now until arrive(). */
  void depart(const Thread& thread, uint32_t offset, int bytes, const Location& at);
  void arrive(const Thread& thread, uint32_t offset, int bytes);
  /** The copy is known to whoever waits for that time of an mbarrier. */
  void arrive_at_mbarrier(uint32_t offset, int bytes, int agent, uint32_t time);

  /** What an engine does in the name of `thread`, through the async proxy, in whole chunks. */
  void engine_load(const Thread& thread, int agent, uint32_t time, uint32_t offset, uint32_t bytes,
                   const char* verb, const Location& at);
  void engine_depart(const Thread& thread, int agent, uint32_t time, uint32_t offset,
                     uint32_t bytes, const char* verb, const Location& at);
  void engine_arrive(int agent, uint32_t time, uint32_t offset, uint32_t bytes);
  /** The operands of a product: chunks of shared memory, read by the warp's tensor core. */
  void operand_load(const Warp& warp, uint32_t time, const uint32_t* chunks, size_t count,
                    const Location& at);

  /** 8 bytes become an mbarrier, or plain memory again. */
  void mbarrier_begin(const Thread& thread, uint32_t offset, const Location& at);
  void mbarrier_end(const Thread& thread, uint32_t offset, const Location& at);
  /** An operation on an mbarrier by a thread that must know of it. */
  void mbarrier_access(const Thread& thread, uint32_t offset, const char* verb, const Location& at);

 private:
  enum Kind : uint8_t {
    kPlain,
    kCopyInFlight,
    kAtomic,
    kCollective,  // by all lanes of a warp
    kEngine,      // through the async proxy
    kEngineInFlight,
    kMbarrier,
    kMixed,  // a chunk whose bytes have records of their own
  };

  /** The last write of a byte, or of all bytes of a chunk. */
  struct Write {
    uint32_t time;
    uint16_t site;  // where in the kernel
    uint8_t agent;
    uint8_t lane : 5, kind : 3;
  };
  static_assert(sizeof(Write) == 8);

  /** An access that is being checked. */
  struct Access {
    const Warp& warp;
    int lane;       // kWholeWarp: none is exempt from its own warp's order
    uint32_t seen;  // what the lane knows of its own warp
    uint32_t begin, end;
    Kind kind;
    const char* verb;
    const Location& at;

    bool asynchronous() const { return kind == kEngine || kind == kEngineInFlight; }
  };
  static constexpr int kWholeWarp = -1;

  static Access access(const Thread& thread, uint32_t offset, uint32_t bytes, Kind kind,
                       const char* verb, const Location& at);
  static Access collective(const Warp& warp, uint32_t offset, uint32_t bytes, Kind kind,
                           const char* verb, const Location& at);

  /** Calls visit(offset, write) for the writes of [begin, end), once for a run of the same. */
  template <class Visit>
  void visit_writes(uint32_t begin, uint32_t end, Visit visit) const;

  enum Content { kMayBeNew, kMustBeInitialised };
  void check_after_writes(const Access& access, Content content) const;
  void check_after_reads(const Access& access) const;
  void check_order(const Access& access, uint32_t offset, const Write& write) const;
  void mark_read(const Warp& warp, uint32_t begin, uint32_t end, uint8_t reader);
  void mark_chunks_read(int agent, uint32_t time, uint32_t begin, uint32_t end);
  void mark_written(const Access& access, int agent, uint32_t time);
  void write(uint32_t begin, uint32_t end, const Write& write);
  /** A copy has landed: its record becomes one of another kind and time. */
  void rewrite(uint32_t offset, uint32_t bytes, Kind kind, int agent, uint32_t time);
  [[noreturn]] void race(const Access& access, uint32_t offset, const Write& write,
                         const char* why) const;

  size_t row(int warp) const { return static_cast<size_t>(warp) * bytes_; }

  size_t bytes_ = 0;
  int warps_ = 0;
  uint32_t start_ = 0;
  std::vector<Write> chunks_;    // by chunk
  std::vector<Write> writes_;    // by byte, of the chunks that are kMixed
  std::vector<uint32_t> reads_;  // [warp][byte]: when the warp last read it
  // [warp][byte]: the lane that did, or kManyLanes, or kCollectively
  std::vector<uint8_t> readers_;
  /** [agent][chunk]: when the agent last read any of it. Empty for agents that never read. */
  std::vector<uint32_t> chunk_reads_[kAgents];
  std::vector<int> reading_agents_;
};

}  // namespace simt
