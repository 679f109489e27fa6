// cp.async: between the instruction and the wait that demands it, a copy may land at any time.
// Until then its destination holds NaN, and touching it is a race.
#pragma once

#include <cstdint>
#include <vector>

#include "simt/location.h"

namespace simt {

struct Thread;

/** The copies a thread has under way. */
struct AsyncCopies {
  struct Copy {
    uint32_t offset;
    const void* source;  // null: zeros
    int bytes;
    uint32_t group;
    Location at;
    bool landed;
  };
  std::vector<Copy> under_way;
  uint32_t group = 0;  // that copies issued now belong to
};

/** `bytes` zeros, and no read, where `predicate` is false. */
void async_copy(uint32_t destination, const void* source, int bytes, bool predicate,
                const Location& at);
void async_copy_commit();
/** Until at most `groups` committed groups are under way. */
void async_copy_wait(int groups);
/** The copies so far arrive on the mbarrier at `barrier` once they have landed. */
void async_copy_arrive(uint32_t barrier, const Location& at);

/** Reports a thread that exits without having waited. */
void check_copies_at_exit(const Thread& thread);

}  // namespace simt
