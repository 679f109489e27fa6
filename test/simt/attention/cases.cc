#include "cases.h"

namespace simt_test {

using fa::DType;

std::vector<Spec> forward_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.seqlen_q = 150;
    spec.seqlen_k = 200;
    change(spec);
    cases.push_back(spec);
  };
  add("full", [](Spec&) {});
  add("causal", [](Spec& s) {
    s.causal = true;
    s.seqlen_k = 290;
  });
  add("causal, more queries than keys", [](Spec& s) {
    s.causal = true;
    s.seqlen_q = 200;
    s.seqlen_k = 140;
  });
  add("window", [](Spec& s) {
    s.window_left = 40;
    s.window_right = 10;
  });
  add("values that are not finite", [](Spec& s) {
    s.causal = true;
    s.poison_v = true;
    s.seqlen_k = 150;
  });
  add("varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 3;
    s.heads = 1;
    s.kv_heads = 1;
    s.seqlen_q = 170;
  });
  add("head dim 32", [](Spec& s) {
    s.head_dim = s.head_dim_v = 32;
    s.causal = true;
    s.heads = s.kv_heads = 1;
  });
  add("grouped heads", [](Spec& s) {
    s.heads = 3;
    s.kv_heads = 1;
    s.seqlen_q = 50;
  });
  add("bfloat16, 128", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = true;
    s.heads = 1;
    s.kv_heads = 1;
  });
  add("bfloat16, 104 and 72", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 104;
    s.head_dim_v = 72;
    s.heads = 1;
    s.kv_heads = 1;
  });
  for (const int splits : {1, 2}) {
    add("bfloat16, 128, scores beyond base 2", [&](Spec& s) {
      s.dtype = DType::kBFloat16;
      s.head_dim = s.head_dim_v = 128;
      s.causal = s.extreme_scores = true;
      s.heads = 1;
      s.kv_heads = 1;
      s.num_splits = splits;
    });
  }
  add("softcap, ALiBi, bias", [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
    s.seqlen_q = 70;
  });
  add("bool mask, sinks, dropout", [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.seqlen_q = 70;
  });
  add("block mask, sink tokens", [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
    s.seqlen_q = 100;
  });
  add("rows that are not aligned", [](Spec& s) {
    s.head_dim = 37;
    s.head_dim_v = 51;
    s.seqlen_q = 70;
  });
  add("paged, split", [](Spec& s) {
    s.batch = 2;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 3;
    s.seqlen_k = 300;
    s.page_size = 16;
    s.num_splits = 3;
    s.causal = true;
  });
  add("pages of int8", [](Spec& s) {
    s.batch = 2;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 9;
    s.seqlen_k = 300;
    s.page_size = 16;
    s.int8_pages = s.causal = true;
    s.num_splits = 2;
  });
  add("pages of int8, rows that are not aligned", [](Spec& s) {
    s.head_dim = 37;
    s.head_dim_v = 51;
    s.seqlen_q = 40;
    s.seqlen_k = 100;
    s.page_size = 16;
    s.int8_pages = s.causal = true;
  });
  add("pages of int8, few keys in the window", [](Spec& s) {
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 40;
    s.seqlen_k = 300;
    s.window_left = 2;
    s.page_size = 16;
    s.int8_pages = s.causal = true;
  });
  add("decode, split", [](Spec& s) {
    s.heads = 4;
    s.kv_heads = 1;
    s.seqlen_q = 1;
    s.seqlen_k = 300;
    s.num_splits = 4;
    s.seqlens_k = s.sinks = true;
    s.batch = 2;
  });
  add("decode, paged", [](Spec& s) {
    s.heads = 3;
    s.kv_heads = 1;
    s.seqlen_q = 5;
    s.seqlen_k = 300;
    s.head_dim_v = 32;
    s.page_size = 8;
    s.causal = s.seqlens_k = true;
    s.batch = 2;
  });
  add("decode, sink tokens and a window far from them", [](Spec& s) {
    s.heads = 3;
    s.kv_heads = 1;
    s.seqlen_q = 5;
    s.seqlen_k = 700;
    s.head_dim = 40;
    s.head_dim_v = 24;
    s.causal = true;
    s.sink_tokens = 40;
    s.window_left = 150;
  });
  add("decode, values that are not finite", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 9;
    s.seqlen_k = 210;
    s.window_left = 100;  // some rows see the value in the middle
    s.causal = s.poison_v = true;
  });
  add("decode, values that are not finite, for a warp that does not store", [](Spec& s) {
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 16;
    s.seqlen_k = 60;
    s.causal = s.poison_v = true;
  });
  add("decode, softcap and ALiBi", [](Spec& s) {
    s.head_dim = s.head_dim_v = 32;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 2;
    s.seqlen_k = 170;
    s.softcap = 8;
    s.alibi = s.causal = true;
  });
  add("decode, scores beyond base 2", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 11;
    s.causal = s.extreme_scores = true;
    s.num_splits = 2;
  });
  add("decode, pages of int8, split", [](Spec& s) {
    s.batch = 2;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 5;
    s.seqlen_k = 300;
    s.head_dim_v = 48;
    s.page_size = 16;
    s.int8_pages = s.causal = true;
    s.num_splits = 2;
  });
  add("decode, pages of float8", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 112;
    s.head_dim_v = 80;
    s.heads = 4;
    s.kv_heads = 1;
    s.seqlen_q = 3;
    s.seqlen_k = 210;
    s.window_left = 100;
    s.page_size = 8;
    s.float8_pages = s.causal = true;
  });
  for (const int queries : {2, 3}) {  // in half of a tile's rows, and in more
    add("decode, scales of values far from each other", [&](Spec& s) {
      s.heads = 4;
      s.kv_heads = 1;
      s.seqlen_q = queries;
      s.seqlen_k = 700;
      s.page_size = 16;
      s.float8_pages = s.far_scales = s.causal = true;
    });
  }
  add("decode, scales of values far from each other, equal scores", [](Spec& s) {
    s.heads = 4;
    s.kv_heads = 1;
    s.seqlen_q = 2;
    s.seqlen_k = 700;
    s.page_size = 16;
    s.float8_pages = s.far_scales = s.equal_scores = s.causal = true;
  });
  add("decode, pages of int8, softcap, ALiBi, sinks", [](Spec& s) {
    s.heads = s.kv_heads = 2;
    s.seqlen_q = 9;
    s.seqlen_k = 170;
    s.softcap = 8;
    s.page_size = 1;
    s.alibi = s.sinks = s.int8_pages = s.causal = true;
  });
  for (const bool float8 : {false, true}) {
    add("decode, codes and scales that are not finite", [&](Spec& s) {
      s.dtype = float8 ? DType::kFloat16 : DType::kBFloat16;
      s.heads = s.kv_heads = 1;
      s.seqlen_q = 9;
      s.seqlen_k = 210;
      s.window_left = 32;  // some rows see the one in the middle, some neither, some the last
      s.page_size = 16;
      s.int8_pages = !float8;
      s.float8_pages = float8;
      s.causal = s.poison_codes = true;
      s.num_splits = float8 ? 1 : 2;
    });
  }
  add("varlen of few and of many queries", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 3;
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 20;
    s.seqlen_k = 60;
  });
  for (const int splits : {0, 1, 3}) {
    add("ragged: long and short, few queries and many", [&](Spec& s) {
      s.lengths = {{1, 1500}, {0, 20}, {70, 100}, {1, 3}, {2, 0}, {9, 300}};
      s.varlen = s.causal = true;
      s.batch = 6;
      s.heads = 2;
      s.kv_heads = 1;
      s.seqlen_q = 70;
      s.seqlen_k = 1500;
      s.num_splits = splits;
    });
  }
  add("ragged: tiles of one sequence in 1 to 4 splits", [](Spec& s) {
    s.lengths = {{200, 210}, {5, 400}};
    s.varlen = s.causal = true;
    s.softcap = 8;
    s.batch = 2;
    s.heads = 3;  // a tile of rows ends within a query
    s.kv_heads = 1;
    s.seqlen_q = 200;
    s.seqlen_k = 400;
    s.num_splits = 4;
  });
  add("ragged: pages, automatic splits", [](Spec& s) {
    s.lengths = {{1, 900}, {3, 40}, {1, 0}, {30, 70}};
    s.varlen = s.causal = true;
    s.page_size = 16;
    s.batch = 4;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 30;
    s.seqlen_k = 900;
    s.num_splits = 0;
  });
  for (const DType dtype : {DType::kFloat16, DType::kFloat32}) {
    add("pages of decode steps, a list that is longer than the work", [&](Spec& s) {
      s.lengths = {{1, 400}, {1, 40}, {1, 1}};
      s.dtype = dtype;
      s.head_dim = s.head_dim_v = dtype == DType::kFloat32 ? 32 : 64;
      s.varlen = s.causal = s.spare_items = true;
      s.page_size = 16;
      s.batch = 3;
      s.heads = 4;
      s.kv_heads = 2;
      s.seqlen_q = 1;
      s.seqlen_k = 400;
      s.num_splits = 3;
    });
  }
  add("float32", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.head_dim = s.head_dim_v = 32;
    s.causal = true;
    s.seqlen_q = 100;
  });
  return cases;
}

std::vector<Spec> backward_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.seqlen_q = 150;
    spec.seqlen_k = 170;
    change(spec);
    for (const bool deterministic : {false, true}) {
      spec.deterministic = deterministic;
      cases.push_back(spec);
    }
  };
  add("full", [](Spec& s) { s.heads = s.kv_heads = 1; });
  add("causal, grouped heads", [](Spec& s) {
    s.causal = true;
    s.kv_heads = 1;
  });
  add("causal, more queries than keys", [](Spec& s) {
    s.causal = true;
    s.seqlen_q = 200;
    s.seqlen_k = 140;
    s.heads = s.kv_heads = 1;
  });
  add("window", [](Spec& s) {
    s.window_left = 40;
    s.window_right = 10;
    s.heads = s.kv_heads = 1;
  });
  add("varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 2;
    s.heads = s.kv_heads = 1;
  });
  add("bfloat16, 128", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = true;
    s.heads = s.kv_heads = 1;
  });
  add("bfloat16, 104 and 72", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 104;
    s.head_dim_v = 72;
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 90;
  });
  add("softcap, ALiBi, bias", [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("bool mask, sinks, dropout", [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.seqlen_q = 100;
  });
  add("block mask, sink tokens", [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("extreme rows, sinks, dropout", [](Spec& s) {
    s.bias = s.far_rows = s.sinks = s.causal = true;
    s.dropout = 0.25;
    s.kv_heads = 1;
    s.seqlen_q = 40;
    s.seqlen_k = 70;
  });
  add("rows that are not aligned", [](Spec& s) {
    s.head_dim = 37;
    s.head_dim_v = 51;
    s.heads = s.kv_heads = 1;
  });
  add("float32", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.causal = true;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("gradients that are not finite", [](Spec& s) {
    s.causal = s.poison_dout = true;
    s.heads = s.kv_heads = 1;
  });
  add("float32, gradients that are not finite", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.causal = s.poison_dout = true;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("float32, 160", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.head_dim = s.head_dim_v = 160;
    s.seqlen_q = s.seqlen_k = 50;
    s.heads = s.kv_heads = 1;
  });
  return cases;
}

}  // namespace simt_test
