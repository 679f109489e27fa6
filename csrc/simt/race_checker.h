// Happens-before over shared memory. Every byte remembers who wrote it last and when every warp
// read it; an access that is not ordered after those by barriers is reported, whatever the schedule
// and the values were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt/location.h"
#include "simt/vector_clock.h"

namespace simt {

struct Thread;
struct Warp;

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

  /** The destination of a copy that may land at any time from now until arrive(). */
  void depart(const Thread& thread, uint32_t offset, int bytes, const Location& at);
  void arrive(const Thread& thread, uint32_t offset, int bytes);

 private:
  enum Flag : uint8_t { kNone = 0, kInFlight = 1, kAtomic = 2 };

  /** The last write of a byte. */
  struct Write {
    uint32_t time;
    uint16_t site;  // where in the kernel
    uint8_t agent;
    uint8_t lane : 5, flags : 3;
  };
  static_assert(sizeof(Write) == 8);

  /** An access that is being checked. */
  struct Access {
    const Warp& warp;
    int lane;       // kWholeWarp: none is exempt from its own warp's order
    uint32_t seen;  // what the lane knows of its own warp
    uint32_t begin, end;
    bool atomic;
    const char* verb;
    const Location& at;
  };
  static constexpr int kWholeWarp = -1;

  static Access access(const Thread& thread, uint32_t offset, int bytes, const char* verb,
                       const Location& at, bool atomic = false);

  enum Content { kMayBeNew, kMustBeInitialised };
  void check_after_writes(const Access& access, Content content) const;
  void check_after_reads(const Access& access) const;
  void check_order(const Access& access, uint32_t offset, const Write& write) const;
  void mark_written(const Access& access, Flag flag);
  [[noreturn]] void race(const Access& access, uint32_t offset, const Write& write,
                         const char* why) const;

  size_t row(int warp) const { return static_cast<size_t>(warp) * bytes_; }

  size_t bytes_ = 0;
  int warps_ = 0;
  uint32_t start_ = 0;
  std::vector<Write> writes_;
  std::vector<uint32_t> reads_;   // [warp][byte]: when the warp last read it
  std::vector<uint8_t> readers_;  // [warp][byte]: the lane that did, or kManyLanes, or kCollective
};

}  // namespace simt
