#include <algorithm>
#include <utility>

#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> overlap_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.heads = 2;
    spec.kv_heads = 1;
    change(spec);
    cases.push_back(spec);
  };
  const auto ragged = [](Spec& s, std::vector<std::pair<int, int>> lengths) {
    s.varlen = s.causal = true;
    s.batch = static_cast<int>(lengths.size());
    for (const auto& [queries, keys] : lengths) {
      s.seqlen_q = std::max(s.seqlen_q, queries);
      s.seqlen_k = std::max(s.seqlen_k, keys);
    }
    s.lengths = std::move(lengths);
    s.num_splits = 3;
  };
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

}  // namespace simt_test
