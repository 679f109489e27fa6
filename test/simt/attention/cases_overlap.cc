#include <algorithm>
#include <utility>

#include "cases.h"

namespace simt_test {

using fa::DType;

namespace {

/** Two query heads share a kv head, unless told otherwise. */
template <typename Change>
void add_to(std::vector<Spec>& cases, const char* name, Change change) {
  Spec spec{name};
  spec.heads = 2;
  spec.kv_heads = 1;
  change(spec);
  cases.push_back(spec);
}

void ragged(Spec& s, std::vector<std::pair<int, int>> lengths) {
  s.varlen = s.causal = true;
  s.batch = static_cast<int>(lengths.size());
  for (const auto& [queries, keys] : lengths) {
    s.seqlen_q = std::max(s.seqlen_q, queries);
    s.seqlen_k = std::max(s.seqlen_k, keys);
  }
  s.lengths = std::move(lengths);
  s.num_splits = 3;
}

}  // namespace

std::vector<Spec> overlap_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) { add_to(cases, name, change); };
  add("decoding in splits", [](Spec& s) {
    s.heads = 4;
    s.seqlen_q = 1;
    s.seqlen_k = 700;
    s.num_splits = 3;
  });
  // Hopper's kernel or that of many rows, that of few and that of decoding, then the merge.
  add("three launches and a merge", [&](Spec& s) {
    ragged(s, {{1, 500}, {0, 20}, {70, 300}, {1, 3}, {2, 0}, {9, 300}});
  });
  add("three launches and a merge, softcap", [&](Spec& s) {
    ragged(s, {{1, 900}, {40, 300}, {9, 200}});
    s.softcap = 8;
  });
  add("two launches, pages", [&](Spec& s) {
    ragged(s, {{1, 900}, {50, 170}, {1, 240}});
    s.page_size = 16;
    s.num_splits = 1;
  });
  add("a list that is longer than the work", [&](Spec& s) {
    ragged(s, {{1, 900}, {1, 240}, {1, 1}});
    s.spare_items = true;
  });
  add("latents, few rows and many", [&](Spec& s) {
    ragged(s, {{1, 130}, {3, 140}});
    s.dtype = DType::kBFloat16;
    s.heads = 16;
    s.latents = true;
    s.head_dim = 576;
    s.head_dim_v = 512;
    s.num_splits = 2;
  });
  return cases;
}

std::vector<Spec> branch_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) { add_to(cases, name, change); };
  // On the kernel of many rows, that of few rows and that of decoding, then the merge.
  for (const int splits : {0, 1, 3}) {
    add("three launches", [&](Spec& s) {
      ragged(s, {{1, 500}, {0, 20}, {70, 300}, {1, 3}, {2, 0}, {9, 300}});
      s.num_splits = splits;
    });
  }
  add("two launches, softcap", [](Spec& s) {
    ragged(s, {{1, 900}, {40, 300}, {9, 200}});
    s.softcap = 8;
  });
  add("two launches, pages", [](Spec& s) {
    ragged(s, {{1, 900}, {50, 170}, {1, 240}});
    s.page_size = 16;
  });
  add("two launches, pages of int8", [](Spec& s) {
    ragged(s, {{1, 900}, {50, 170}, {1, 240}});
    s.page_size = 16;
    s.int8_pages = true;
  });
  add("latents, few rows and many", [](Spec& s) {
    ragged(s, {{1, 130}, {3, 140}});
    s.dtype = DType::kBFloat16;
    s.heads = 16;
    s.latents = true;
    s.head_dim = 576;
    s.head_dim_v = 512;
    s.num_splits = 2;
  });
  return cases;
}

}  // namespace simt_test
