// The scheduler of ragged calls: it deals out tiles of rows and ranges of keys by the lengths of
// the sequences, so that no block is without work and none has much more than others.
#pragma once

#include <memory>
#include <vector>

#include "core/attention.h"
#include "cuda/base/forward_launch.h"
#include "cuda/device/work_item.h"

namespace fa::cuda {

struct WorkList {
  std::vector<WorkItem> items;    // of all launches, one launch after the other: see ForwardLaunch
  std::vector<MergeItem> merges;  // queries with several splits
  int64_t covered = 0;            // queries that sequences have: the first ones
  std::vector<int> splits;        // of each sequence
  int64_t partial_rows = 0;       // of results of splits, of which blocks
  int64_t written_rows = 0;       // write so many; the others stand for nothing
  std::vector<int64_t> items_of;  // of each launch

  /** Items, then merges, on the device; null until they are there. */
  std::shared_ptr<const void> on_device;

  size_t merges_offset() const { return items.size() * sizeof(WorkItem); }
  size_t bytes() const { return merges_offset() + merges.size() * sizeof(MergeItem); }
  /** Items, then merges: `bytes`. */
  void write_to(char* list) const;
};

/** A launch, and the blocks of it that run at a time. */
struct PlacedLaunch {
  const ForwardLaunch* launch;
  int64_t places;
};

/**
 * The list of a ragged call. Every sequence is cut into splits of its own: as many as the caller
 * has asked for and it has tiles of keys, or by its length beside that of the others. Made once for
 * the layers of a step that are alike.
 */
std::shared_ptr<WorkList> work_list(const AttentionProblem& problem,
                                    const std::vector<PlacedLaunch>& launches);

}  // namespace fa::cuda
