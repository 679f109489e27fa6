#include "core/shared_prefix.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "core/attention.h"

namespace fa {

namespace {

/** The whole pages of a sequence that lie before its queries. */
struct Pages {
  int64_t sequence;
  const int32_t* first;
  int64_t count;
};

/** How many pages two sequences begin with alike. */
int64_t common(const Pages& a, const Pages& b) {
  constexpr int64_t kTogether = 64;  // memcmp is many times as fast as a loop
  const int64_t most = std::min(a.count, b.count);
  int64_t n = 0;
  while (n + kTogether <= most &&
         std::memcmp(a.first + n, b.first + n, kTogether * sizeof(int32_t)) == 0)
    n += kTogether;
  while (n < most && a.first[n] == b.first[n]) ++n;
  return n;
}

/** Any order in which those that begin alike are neighbours. */
bool before(const Pages& a, const Pages& b) {
  const int64_t n = common(a, b);
  return n < a.count && n < b.count ? a.first[n] < b.first[n] : a.count < b.count;
}

/** Groups of sequences, and the pages that reading theirs once saves. */
struct Choice {
  int64_t saved = 0;
  std::vector<SharedPrefix> groups;
};

constexpr int kMostLevels = 16;  // of prefixes that begin with prefixes

/** Of sorted sequences [begin, end): all of them in one group, or what their parts choose. */
Choice choose(const std::vector<Pages>& sorted, const std::vector<int64_t>& common_with_next,
              size_t begin, size_t end, int64_t page_size, int level = 0) {
  Choice choice;
  if (end - begin < 2) return choice;
  const auto lengths = common_with_next.begin();
  const int64_t shortest = *std::min_element(lengths + static_cast<int64_t>(begin),
                                             lengths + static_cast<int64_t>(end) - 1);
  // The parts are those that share more.
  for (size_t at = begin; at < end && level < kMostLevels;) {
    size_t last = at;
    while (last + 1 < end && common_with_next[last] > shortest) ++last;
    Choice part = choose(sorted, common_with_next, at, last + 1, page_size, level + 1);
    choice.saved += part.saved;
    std::move(part.groups.begin(), part.groups.end(), std::back_inserter(choice.groups));
    at = last + 1;
  }
  const int64_t together = static_cast<int64_t>(end - begin - 1) * shortest;
  if (together == 0 || together < choice.saved) return choice;
  SharedPrefix all{shortest * page_size, {}};
  for (size_t i = begin; i < end; ++i) all.sequences.push_back(sorted[i].sequence);
  std::sort(all.sequences.begin(), all.sequences.end());
  return {together, {std::move(all)}};
}

}  // namespace

bool may_share_prefixes(const AttentionProblem& p) {
  return p.num_splits == 0 && !p.alibi_slopes.present() && !p.mask.present() &&
         !p.block_mask.present() && p.dropout.p == 0;
}

std::shared_ptr<const std::vector<SharedPrefix>> find_shared_prefixes(const AttentionProblem& p) {
  if (!may_share_prefixes(p) || !p.paged() || p.batch() < 2 || p.page_table.strides[1] != 1)
    return nullptr;
  const int64_t page_size = p.k.shape[1];
  std::vector<Pages> sorted;
  for (int64_t b = 0; b < p.batch(); ++b) {
    const Sequence s = sequence(p, b);
    const int64_t pages = std::max<int64_t>(0, s.seqlen_k - s.seqlen_q) / page_size;
    const auto* const row = int32_data(p.page_table) + b * p.page_table.strides[0];
    if (pages > 0 && s.seqlen_q > 0) sorted.push_back({b, row, pages});
  }
  std::sort(sorted.begin(), sorted.end(), before);
  std::vector<int64_t> common_with_next;
  for (size_t i = 0; i + 1 < sorted.size(); ++i)
    common_with_next.push_back(common(sorted[i], sorted[i + 1]));
  Choice choice = choose(sorted, common_with_next, 0, sorted.size(), page_size);
  if (choice.groups.empty()) return nullptr;
  return std::make_shared<const std::vector<SharedPrefix>>(std::move(choice.groups));
}

}  // namespace fa
