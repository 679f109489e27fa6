#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> forward_sm90_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.seqlen_q = 250;  // 192 rows of a tile, and two warpgroups that have none or few
    spec.seqlen_k = 420;  // four tiles: all stages, and round again
    change(spec);
    cases.push_back(spec);
  };
  const auto one_head = [](Spec& s) { s.heads = s.kv_heads = 1; };
  add("full", [](Spec&) {});
  add("causal", [](Spec& s) {
    s.causal = true;
    s.seqlen_k = 290;
    s.heads = s.kv_heads = 3;
  });
  add("causal, more queries than keys", [&](Spec& s) {
    s.causal = true;
    s.seqlen_q = 400;
    s.seqlen_k = 140;
    one_head(s);
  });
  add("window", [&](Spec& s) {
    s.window_left = 140;
    s.window_right = 10;
    one_head(s);
  });
  add("values that are not finite", [](Spec& s) {
    s.causal = true;
    s.poison_v = true;
    s.seqlen_k = 250;
  });
  add("varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 3;
    s.heads = 1;
    s.kv_heads = 1;
    s.seqlen_q = 270;
  });
  add("varlen, what follows is NaN", [&](Spec& s) {
    s.varlen = s.poison_last = true;
    s.batch = 2;
    s.seqlen_q = 210;
    s.seqlen_k = 180;
    one_head(s);
  });
  add("grouped heads", [](Spec& s) {
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 90;
    s.causal = true;
  });
  add("grouped heads that do not divide 64", [](Spec& s) {
    s.heads = 3;
    s.kv_heads = 1;
    s.seqlen_q = 70;
    s.seqlen_k = 150;
  });
  add("head dims 40 and 56", [&](Spec& s) {
    s.head_dim = 40;
    s.head_dim_v = 56;
    s.causal = true;
    one_head(s);
  });
  add("96", [&](Spec& s) {
    s.head_dim = s.head_dim_v = 96;
    s.causal = true;
    one_head(s);
  });
  add("bfloat16, 128", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = true;
    one_head(s);
  });
  add("bfloat16, 128, scores beyond base 2", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = s.extreme_scores = true;
    one_head(s);
  });
  add("bfloat16, 192 and 128", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 192;
    s.head_dim_v = 128;
    s.causal = true;
    one_head(s);
  });
  add("192 and 128, rows that see nothing", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 192;
    s.head_dim_v = 128;
    s.causal = true;
    s.seqlen_q = 600;
    s.seqlen_k = 100;
    one_head(s);
  });
  add("192 and 128, varlen", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 168;
    s.head_dim_v = 120;
    s.varlen = true;
    s.batch = 2;
    s.seqlen_k = 280;
    one_head(s);
  });
  add("256", [&](Spec& s) {
    s.head_dim = s.head_dim_v = 256;
    s.seqlen_q = 200;
    s.seqlen_k = 250;
    one_head(s);
  });
  add("softcap, ALiBi, bias", [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
    s.seqlen_q = 150;
    s.seqlen_k = 200;
  });
  add("bool mask, sinks, dropout", [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.seqlen_q = 100;
    s.seqlen_k = 200;
  });
  add("block mask, sink tokens", [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
    s.seqlen_q = 140;
    s.seqlen_k = 300;
  });
  add("lengths of keys", [](Spec& s) {
    s.seqlens_k = s.sinks = true;
    s.batch = 2;
    s.heads = 2;
    s.kv_heads = 1;
    s.seqlen_q = 70;
    s.seqlen_k = 250;
  });
  add("split, more splits than tiles", [&](Spec& s) {
    s.num_splits = 5;
    s.seqlen_q = 70;
    one_head(s);
  });
  add("automatic splits", [&](Spec& s) {
    s.num_splits = 0;
    s.seqlen_q = 80;
    s.seqlen_k = 900;
    one_head(s);
  });
  add("causal, grouped heads, split", [](Spec& s) {
    s.causal = true;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 90;
    s.num_splits = 2;
  });
  add("varlen, split, values that are not finite", [&](Spec& s) {
    s.varlen = s.causal = s.poison_v = true;
    s.batch = 2;
    s.seqlen_q = 150;
    s.seqlen_k = 330;
    s.num_splits = 2;
    one_head(s);
  });
  add("bfloat16, 128, scores beyond base 2, split", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = s.extreme_scores = true;
    s.num_splits = 4;  // keys of the first one all have scores of -1e30 in a row
    one_head(s);
  });
  add("192 and 128, window, split", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 192;
    s.head_dim_v = 120;
    s.window_left = 200;
    s.num_splits = 2;
    one_head(s);
  });
  add("sinks, softcap, split", [](Spec& s) {
    s.sinks = s.seqlens_k = true;
    s.softcap = 8;
    s.batch = 2;
    s.heads = 2;
    s.kv_heads = 1;
    s.seqlen_q = 70;
    s.num_splits = 3;
  });
  for (const int page_size : {8, 16, 64, 256}) {
    add("pages", [&](Spec& s) {
      s.page_size = page_size;
      s.batch = 2;
      s.causal = true;
      s.seqlen_q = 200;
      one_head(s);
    });
  }
  add("pages of 24, grouped heads, window", [](Spec& s) {
    s.page_size = 24;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 90;
    s.causal = true;
    s.window_left = 150;
  });
  add("pages, varlen, split, values that are not finite", [&](Spec& s) {
    s.page_size = 16;
    s.varlen = s.causal = s.poison_v = true;
    s.batch = 3;
    s.num_splits = 2;
    one_head(s);
  });
  add("pages, bfloat16, 128, scores beyond base 2", [&](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.page_size = 128;
    s.causal = s.extreme_scores = true;
    one_head(s);
  });
  add("pages of 64, 256", [&](Spec& s) {
    s.head_dim = s.head_dim_v = 256;
    s.page_size = 64;
    s.seqlen_q = 100;
    s.seqlen_k = 250;
    one_head(s);
  });
  add("pages of 64, softcap, sinks, split", [](Spec& s) {
    s.page_size = 64;
    s.softcap = 8;
    s.sinks = s.causal = true;
    s.batch = 2;
    s.heads = 2;
    s.kv_heads = 1;
    s.seqlen_q = 70;
    s.num_splits = 2;
  });
  for (const int splits : {0, 1, 3}) {
    add("ragged: long and short, few queries and many", [&](Spec& s) {
      s.lengths = {{1, 900}, {0, 20}, {150, 500}, {90, 100}, {2, 0}, {9, 300}, {200, 200}};
      s.varlen = s.causal = true;
      s.batch = 7;
      s.seqlen_q = 200;
      s.seqlen_k = 900;
      s.num_splits = splits;
      one_head(s);
    });
  }
  add("ragged: pages, grouped heads, automatic splits", [](Spec& s) {
    s.lengths = {{120, 900}, {3, 40}, {90, 90}, {70, 0}};
    s.varlen = s.causal = true;
    s.page_size = 16;
    s.batch = 4;
    s.heads = 2;
    s.kv_heads = 1;
    s.seqlen_q = 120;
    s.seqlen_k = 900;
    s.num_splits = 0;
  });
  return cases;
}

}  // namespace simt_test
