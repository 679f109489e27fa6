// What the layers of a step have in common: where new tokens of several sequences go in the pages
// of a cache, and what they see.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/attention.h"
#include "core/view.h"

namespace fa {

/** Leading rows of a page that have to be in another one before that is written to. */
struct PageCopy {
  int64_t from, to, rows;
};

/** Index tensors of one piece of int32 memory, and what they were judged for. */
struct StepTables {
  View slots;         // [total]: see Appending
  View positions;     // [total]: where the tokens stand
  View cu_seqlens_q;  // [batch + 1], and so on: see AttentionProblem
  View page_table;    // [batch, pagesPerSequence]
  View seqlens_k;     // [batch]
  View tree_mask;     // [total, words]; absent without trees
  std::vector<PageCopy> copies;
  int64_t num_pages = 0;
  int64_t page_size = 0;

  int64_t total() const { return slots.shape[0]; }
  int64_t batch() const { return seqlens_k.shape[0]; }
};

/** What the host reads out of the contents of tables. */
struct StepExtents {
  int64_t longest_q = 0;
  int64_t last_position = 0;
  std::shared_ptr<const SequenceTable> sequences;  // for a device that plans by lengths
  std::shared_ptr<const std::vector<SharedPrefix>> shared_prefixes;  // see find_shared_prefixes
};

/** What a device makes use of. */
struct StepUses {
  bool shared_prefixes, sequences;
};

/**
 * Throws fa::Error unless what tables in host memory hold is legal for any layer whose pages they
 * were made for. Reads of them what the device of the step makes use of.
 */
StepExtents validate_contents(const StepTables& tables, StepUses uses);

/** Gives a problem over `tables` what they say of it. */
void set_tables(AttentionProblem& problem, const StepTables& tables, const StepExtents& extents);

}  // namespace fa
