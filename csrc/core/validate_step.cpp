#include <algorithm>
#include <string>

#include "core/append.h"
#include "core/expect.h"
#include "core/step.h"
#include "core/validate.h"

namespace fa {

namespace {

/** Pages of this step alone are copied to, each once, and none of them is copied from. */
void validate_copies(const StepTables& tables) {
  std::vector<int64_t> targets;
  for (const PageCopy& copy : tables.copies) {
    for (const int64_t page : {copy.from, copy.to})
      if (page < 0 || page >= tables.num_pages)
        refuse_entry("copies", "", "of pages, 0 to " + std::to_string(tables.num_pages - 1) + ",",
                     page);
    if (copy.rows < 0 || copy.rows > tables.page_size)
      refuse_entry("copies", "", "of at most " + std::to_string(tables.page_size) + " rows",
                   copy.rows);
    targets.push_back(copy.to);
  }
  std::sort(targets.begin(), targets.end());
  const auto twice = std::adjacent_find(targets.begin(), targets.end());
  if (twice != targets.end())
    refuse(ErrorCode::kOption, "copies", "to a page of its own each",
           "page " + std::to_string(*twice) + " twice");
  for (const PageCopy& copy : tables.copies)
    if (std::binary_search(targets.begin(), targets.end(), copy.from))
      refuse(ErrorCode::kOption, "copies", "from pages that are not copied to",
             "page " + std::to_string(copy.from));
}

}  // namespace

StepExtents validate_contents(const StepTables& tables, StepUses uses) {
  StepExtents extents;
  const auto* const offsets = int32_data(tables.cu_seqlens_q);
  for (int64_t b = 0; b < tables.batch(); ++b)
    extents.longest_q = std::max<int64_t>(extents.longest_q, int64_t{offsets[b + 1]} - offsets[b]);
  for (int64_t t = 0; t < tables.total(); ++t) {
    const int64_t position = int32_data(tables.positions)[t];
    if (position < 0) refuse_entry("positions", at(t), "at least 0", position);
    extents.last_position = std::max(extents.last_position, position);
  }
  // Only the lengths of these two axes count.
  const View pages =
      contiguous_view(nullptr, DType::kFloat32, {tables.num_pages, tables.page_size, 1, 1});
  Appending appending;
  appending.k = contiguous_view(nullptr, DType::kFloat32, {tables.total(), 1, 1});
  appending.k_pages = pages;
  appending.slots = tables.slots;
  validate_contents(appending);
  AttentionProblem problem;
  problem.q = contiguous_view(nullptr, DType::kFloat32, {1, tables.total(), 1, 1});
  problem.k = pages;
  set_tables(problem, tables, extents);
  validate_contents(problem);
  if (uses.shared_prefixes) extents.shared_prefixes = find_shared_prefixes(problem);
  if (uses.sequences) extents.sequences = sequence_table(problem);
  validate_copies(tables);
  return extents;
}

void set_tables(AttentionProblem& problem, const StepTables& tables, const StepExtents& extents) {
  problem.cu_seqlens_q = tables.cu_seqlens_q;
  problem.page_table = tables.page_table;
  problem.seqlens_k = tables.seqlens_k;
  problem.tree_mask = tables.tree_mask;
  if (tables.tree_mask.present()) problem.positions = tables.positions;
  problem.max_seqlen_q = extents.longest_q;
  problem.sequences = extents.sequences;
  problem.shared_prefixes = extents.shared_prefixes;
  problem.max_seqlen_k = tables.page_table.shape[1] * tables.page_size;
}

}  // namespace fa
