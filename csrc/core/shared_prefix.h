// Sequences whose keys begin in the same pages: what they begin with can be read once for all of
// them (Hydragen, Juravsky et al. 2024, arXiv 2402.05099; ChunkAttention, Ye et al. 2024, arXiv
// 2402.15220).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace fa {

struct AttentionProblem;

struct SharedPrefix {
  int64_t keys;                    // in pages that all of them have; more than none
  std::vector<int64_t> sequences;  // of the batch, ascending: two at least
};

/**
 * Whether no option is in the way. A row may see keys in another tile, or in another kernel, than
 * it would by itself: a fixed number of splits promises bits. ALiBi and masks tell the rows of a
 * prefix apart.
 */
bool may_share_prefixes(const AttentionProblem& problem);

/**
 * The groups of a problem over pages whose index tensors are legal and in host memory: each
 * sequence in one at most, so that the most reads are saved. Null where there is none.
 */
std::shared_ptr<const std::vector<SharedPrefix>> find_shared_prefixes(
    const AttentionProblem& problem);

}  // namespace fa
