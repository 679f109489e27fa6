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

  void load(Thread& thread, uint32_t offset, int bytes, const Location& at);
  void store(Thread& thread, uint32_t offset, int bytes, const Location& at);
  void atomic(Thread& thread, uint32_t offset, int bytes, const Location& at);

  /** A load by which all lanes of the warp get what `lane`'s address points to (ldmatrix). */
  void collective_load(Warp& warp, int lane, uint32_t offset, int bytes, const Location& at);

  /** The destination of a copy that may land at any time from now until arrive(). */
  void depart(Thread& thread, uint32_t offset, int bytes, const Location& at);
  void arrive(Thread& thread, uint32_t offset, int bytes);

 private:
  static constexpr uint32_t kGranule = 1;  // bytes: the smallest element that kernels store

  enum Flag : uint16_t { kNone = 0, kInFlight = 1, kAtomic = 2 };

  /** The last write of a granule. */
  struct Write {
    uint32_t time;
    uint16_t site;  // index into sites
    uint8_t agent;
    uint8_t lane : 5, flags : 3;
  };
  static_assert(sizeof(Write) == 8);

  void check_written(const Warp& warp, int lane, uint32_t first, uint32_t last, bool atomic,
                     const Location& at, const char* verb) const;
  void check_overwritten(const Warp& warp, int lane, uint32_t first, uint32_t last, bool atomic,
                         const Location& at, const char* verb) const;
  void check_readers(const Warp& warp, int lane, uint32_t first, uint32_t last, const Location& at,
                     const char* verb) const;
  void check_order(const Warp& warp, int lane, uint32_t granule, const Write& write, bool atomic,
                   const Location& at, const char* verb) const;
  void mark(const Warp& warp, int lane, uint32_t first, uint32_t last, Flag flags,
            const Location& at);
  [[noreturn]] void race(uint32_t granule, const Write& write, const char* verb, const char* why,
                         const Location& at) const;

  uint32_t* reads(int warp) { return reads_.data() + static_cast<size_t>(warp) * granules_; }
  const uint32_t* reads(int warp) const {
    return reads_.data() + static_cast<size_t>(warp) * granules_;
  }
  uint8_t* readers(int warp) { return readers_.data() + static_cast<size_t>(warp) * granules_; }
  const uint8_t* readers(int warp) const {
    return readers_.data() + static_cast<size_t>(warp) * granules_;
  }

  size_t granules_ = 0;
  int warps_ = 0;
  uint32_t start_ = 0;
  std::vector<Write> writes_;
  std::vector<uint32_t> reads_;   // [warp][granule]: when the warp last read it
  std::vector<uint8_t> readers_;  // [warp][granule]: the lane that did, or kManyLanes, or kCollective
};

}  // namespace simt
