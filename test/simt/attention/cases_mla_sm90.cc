#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> mla_sm90_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.latents = true;
    spec.heads = 20;
    spec.kv_heads = 1;
    spec.seqlen_q = 1;
    spec.head_dim = 576;
    spec.head_dim_v = 512;
    change(spec);
    cases.push_back(spec);
  };
  add("six tiles", [](Spec& s) { s.seqlen_k = 370; });  // all stages, and round again twice
  add("one tile", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.seqlen_k = 3;
  });
  add("pages, causal, split, two tiles of rows", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.causal = true;
    s.heads = 40;
    s.seqlen_q = 3;
    s.seqlen_k = 330;
    s.page_size = 48;
    s.batch = 2;
    s.num_splits = 2;
  });
  add("packed", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.lengths = {{1, 200}, {2, 40}, {0, 5}, {1, 0}};
    s.varlen = s.causal = s.spare_items = true;
    s.batch = 4;
    s.seqlen_q = 2;
    s.seqlen_k = 200;
    s.num_splits = 0;
  });
  add("values that are not finite", [](Spec& s) {
    s.heads = 1;
    s.seqlen_q = 150;
    s.seqlen_k = 152;
    s.causal = s.poison_v = true;
    s.softcap = 8;  // infinite scores are finite ones under it
  });
  add("values that are not finite, split", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.heads = 2;
    s.seqlen_q = 70;
    s.seqlen_k = 150;
    s.causal = s.poison_v = true;
    s.softcap = 8;
    s.num_splits = 2;
  });
  add("softcap, ALiBi, sinks, two kv heads", [](Spec& s) {
    s.heads = 18;
    s.kv_heads = 2;
    s.softcap = 8;
    s.alibi = s.sinks = true;
    s.seqlen_q = 2;
    s.seqlen_k = 150;
    s.num_splits = 2;
  });
  add("sink tokens and a window far from them", [](Spec& s) {
    s.causal = true;
    s.head_dim = 320;
    s.head_dim_v = 264;
    s.heads = 7;
    s.seqlen_q = 5;
    s.seqlen_k = 501;
    s.page_size = 1;
    s.sink_tokens = 40;
    s.window_left = 130;
  });
  add("scores of any size", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.heads = 2;
    s.seqlen_q = 11;
    s.seqlen_k = 288;
    s.causal = s.extreme_scores = true;
    s.num_splits = 2;
  });
  return cases;
}

}  // namespace simt_test
