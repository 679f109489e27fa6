#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> backward_sm90_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.heads = spec.kv_heads = 1;
    spec.seqlen_q = 150;
    spec.seqlen_k = 300;  // three tiles: each adds to dQ
    change(spec);
    for (const bool deterministic : {false, true}) {
      spec.deterministic = deterministic;
      cases.push_back(spec);
    }
  };
  add("many tiles of keys", [](Spec& s) {  // more blocks than run at a time
    s.seqlen_q = 40;
    s.seqlen_k = 1100;
    s.equal_columns = 16;
  });
  add("full", [](Spec& s) {
    s.seqlen_q = 290;  // three tiles: both stages, and round again
    s.seqlen_k = 200;
  });
  add("causal, grouped heads", [](Spec& s) {
    s.causal = true;
    s.heads = 2;
  });
  add("causal, more queries than keys", [](Spec& s) {
    s.causal = true;
    s.seqlen_q = 330;
    s.seqlen_k = 140;
  });
  add("window", [](Spec& s) {
    s.window_left = 100;
    s.window_right = 10;
    s.seqlen_q = 290;
  });
  add("varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 3;
    s.heads = s.kv_heads = 2;
    s.seqlen_k = 180;
  });
  add("varlen, beside a sequence of NaN", [](Spec& s) {
    s.varlen = s.poison_last = true;
    s.batch = 2;
    s.seqlen_k = 180;
  });
  add("lengths of keys", [](Spec& s) {
    s.seqlens_k = s.causal = true;
    s.batch = 2;
  });
  add("a key that is not finite", [](Spec& s) {
    s.poison_key = true;
    s.window_left = 20;
    s.window_right = 20;
    s.seqlen_k = 140;
  });
  add("queries that are not finite", [](Spec& s) {
    s.poison_query = s.causal = true;
    s.seqlen_k = 200;
  });
  add("bfloat16, 128, a query that is not finite and sees nothing", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.poison_query = s.causal = true;
    s.seqlen_q = 400;  // query 133 is in a tile with others that see keys
    s.seqlen_k = 210;
  });
  add("96", [](Spec& s) {
    s.head_dim = s.head_dim_v = 96;
    s.causal = true;
    s.seqlen_k = 200;
  });
  add("bfloat16, 128", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = true;
    s.seqlen_q = 200;
    s.seqlen_k = 200;
  });
  add("bfloat16, 128, queries that are not finite", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.poison_query = true;
    s.window_left = s.window_right = 30;
    s.seqlen_k = 200;
  });
  add("bfloat16, 104 and 72", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 104;
    s.head_dim_v = 72;
    s.seqlen_q = 90;
    s.seqlen_k = 150;
  });
  add("bfloat16, 128, a key that is not finite", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.poison_key = true;
    s.window_left = s.window_right = 20;
    s.seqlen_k = 140;
  });
  add("softcap, ALiBi, bias", [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
    s.seqlen_k = 200;
  });
  add("bool mask, sinks, dropout", [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.heads = s.kv_heads = 2;
    s.seqlen_k = 180;
  });
  add("extreme rows, softcap", [](Spec& s) {
    s.bias = s.far_rows = s.causal = true;
    s.softcap = 8;
    s.seqlen_q = 70;
    s.seqlen_k = 150;
  });
  add("block mask, sink tokens", [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
  });
  add("bfloat16, 128, softcap, dropout", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.softcap = 8;
    s.dropout = 0.25;
    s.causal = true;
    s.seqlen_k = 150;
  });
  return cases;
}

}  // namespace simt_test
