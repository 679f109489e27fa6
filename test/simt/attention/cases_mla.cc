#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> mla_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.kv_heads = 1;
    spec.seqlen_q = 1;
    spec.seqlen_k = 75;
    spec.head_dim = 576;
    spec.head_dim_v = 512;
    change(spec);
    cases.push_back(spec);
  };
  add("latents, pages, split", [](Spec& s) {
    s.latents = s.causal = true;
    s.heads = 5;
    s.seqlen_q = 3;
    s.seqlen_k = 140;
    s.page_size = 16;
    s.batch = 2;
    s.num_splits = 2;
  });
  add("latents, many rows", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.latents = s.causal = true;
    s.heads = 40;
    s.seqlen_q = 2;
    s.seqlen_k = 101;
  });
  add("latents, packed", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.lengths = {{1, 130}, {2, 40}, {0, 5}, {1, 0}};
    s.latents = s.varlen = s.causal = s.spare_items = true;
    s.heads = 16;
    s.batch = 4;
    s.seqlen_q = 2;
    s.seqlen_k = 130;
    s.num_splits = 0;
  });
  add("wide heads, values of their own", [](Spec& s) {
    s.heads = 17;
    s.head_dim = 328;
    s.head_dim_v = 264;
  });
  add("wide heads, values of their own, few rows", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.heads = 3;
    s.num_splits = 2;
    s.seqlen_k = 170;
  });
  add("wide heads, values that are not finite", [](Spec& s) {
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 30;
    s.seqlen_k = 60;
    s.causal = s.poison_v = true;
  });
  add("wide heads, softcap, ALiBi, sinks", [](Spec& s) {
    s.heads = s.kv_heads = 2;
    s.softcap = 8;
    s.alibi = s.sinks = true;
    s.seqlen_q = 4;
    s.num_splits = 2;
  });
  add("latents, sink tokens and a window far from them", [](Spec& s) {
    s.latents = s.causal = true;
    s.head_dim = 320;
    s.head_dim_v = 264;
    s.heads = 7;
    s.seqlen_q = 5;
    s.seqlen_k = 301;
    s.page_size = 1;
    s.sink_tokens = 40;
    s.window_left = 70;
  });
  add("wide heads, scores of any size", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.heads = 1;
    s.seqlen_q = 11;
    s.seqlen_k = 88;
    s.causal = s.extreme_scores = true;
    s.num_splits = 2;
  });
  return cases;
}

}  // namespace simt_test
