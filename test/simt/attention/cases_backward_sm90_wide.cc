// Heads of more than 128 dims: dK and dV by dims, tiles of 64 queries x 96 or 80 keys.
#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> backward_sm90_wide_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, DType dtype, int head_dim, auto change) {
    Spec spec{name};
    spec.dtype = dtype;
    spec.head_dim = spec.head_dim_v = head_dim;
    spec.heads = spec.kv_heads = 1;
    spec.seqlen_q = 90;
    spec.seqlen_k = 200;  // three tiles: each adds to dQ
    change(spec);
    for (const bool deterministic : {false, true}) {
      spec.deterministic = deterministic;
      cases.push_back(spec);
    }
  };
  // Plain: bfloat16 of 192, float16 of 256. With options: the other two.
  const auto narrower = [&](const char* name, auto change) {
    add(name, DType::kBFloat16, 192, change);
  };
  const auto wider = [&](const char* name, auto change) {
    add(name, DType::kFloat16, 256, change);
  };
  narrower("192, many tiles of keys", [](Spec& s) {  // more blocks than run at a time
    s.seqlen_q = 40;
    s.seqlen_k = 600;
    s.equal_columns = 16;
  });
  wider("256, many tiles of keys", [](Spec& s) {
    s.seqlen_q = 40;
    s.seqlen_k = 500;
    s.equal_columns = 16;
  });
  narrower("192, full", [](Spec& s) {
    s.seqlen_q = 200;
    s.seqlen_k = 100;
  });
  wider("256, causal, grouped heads", [](Spec& s) {
    s.causal = true;
    s.heads = 2;
  });
  narrower("136 and 160, causal, more queries than keys", [](Spec& s) {
    s.head_dim = 136;
    s.head_dim_v = 160;
    s.causal = true;
    s.seqlen_q = 200;
    s.seqlen_k = 110;
  });
  wider("200 and 24, window", [](Spec& s) {
    s.head_dim = 200;
    s.head_dim_v = 24;
    s.window_left = 70;
    s.window_right = 10;
    s.seqlen_q = 150;
  });
  wider("248, lengths of keys", [](Spec& s) {
    s.head_dim = s.head_dim_v = 248;
    s.seqlens_k = s.causal = true;
    s.batch = 2;
  });
  narrower("192, varlen, beside a sequence of NaN", [](Spec& s) {
    s.varlen = s.poison_last = true;
    s.batch = 2;
    s.seqlen_k = 130;
  });
  wider("256, varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 3;
    s.heads = s.kv_heads = 2;
    s.seqlen_k = 110;
  });
  narrower("192, a key that is not finite", [](Spec& s) {
    s.poison_key = true;
    s.window_left = s.window_right = 20;
    s.seqlen_k = 110;
  });
  wider("256, a key that is not finite", [](Spec& s) {
    s.poison_key = true;
    s.window_left = s.window_right = 20;
    s.seqlen_k = 110;
  });
  narrower("192, queries that are not finite", [](Spec& s) {
    s.poison_query = s.causal = true;
    s.seqlen_q = 150;
    s.seqlen_k = 150;
  });
  wider("256, queries that are not finite", [](Spec& s) {
    s.poison_query = true;
    s.window_left = s.window_right = 30;
    s.seqlen_q = 150;
    s.seqlen_k = 150;
  });
  add("192, softcap, ALiBi, bias", DType::kFloat16, 192, [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
  });
  add("256, bool mask, sinks, dropout", DType::kBFloat16, 256, [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.heads = s.kv_heads = 2;
    s.seqlen_k = 110;
  });
  add("192, extreme rows, softcap", DType::kFloat16, 192, [](Spec& s) {
    s.bias = s.far_rows = s.causal = true;
    s.softcap = 8;
    s.seqlen_q = 70;
    s.seqlen_k = 110;
  });
  add("256, block mask, sink tokens", DType::kBFloat16, 256, [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
  });
  return cases;
}

}  // namespace simt_test
