// The IO argument (Dao et al. 2022, Theorem 2), counted: the bytes that the kernels move and the
// FLOPs that they execute are exactly those of the plan, for several tile sizes, causal and full,
// split and not, ragged and paged, on sm_80, on sm_86, which has tiles of its own, and on sm_90a
// (there of the gradients, too); no block is without work, and no copy into a tile and no load from
// one meets a bank conflict.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cuda/runtime/backward.h"
#include "cuda/runtime/backward_plan.h"
#include "cuda/runtime/plan.h"
#include "device_array.h"
#include "forward_call.h"
#include "fp8.h"
#include "problem.h"
#include "simt/launch_log.h"

namespace {

using fa::DType;
using simt_test::Problem;
using simt_test::Spec;

/** FLOPs of an m16n8k16, and of an m16n8k8. */
double flops_of_mma(DType dtype) {
  return dtype == DType::kFloat32 ? 2. * 16 * 8 * 8 : 2. * 16 * 8 * 16;
}

constexpr int kSm80 = 0, kSm86 = 1, kSm90 = 2;  // of the devices below

cudaDeviceProp use_device(int device) {
  cudaDeviceProp properties;
  CHECK_CUDA(cudaSetDevice(device));
  CHECK_CUDA(cudaGetDeviceProperties(&properties, device));
  return properties;
}

/**
 * What has been launched since keep_reports() against its plan, which knows of atomics where they
 * move results. Returns the bytes read of index tensors and lists, which it does not know of.
 */
uint64_t check_reports(const Spec& spec, const fa::AttentionPlan& plan, bool atomics) {
  double bytes = 0, flops = 0;
  int64_t blocks = 0;  // that work on tiles of rows and keys
  int launches = 0;    // of those
  for (const simt::Report& report : simt::take_reports()) {
    if (!report.ok()) std::fprintf(stderr, "%s\n", report.error.c_str());
    CHECK(report.ok());
    const simt::Counters& c = report.counters;
    // Of these there are none, and that is all that is read.
    if (report.kernel.find("extreme_rows") != std::string::npos) continue;
    bytes += static_cast<double>(c.global_read_bytes + c.global_written_bytes);
    const bool merge = report.kernel.find("combine") != std::string::npos;
    CHECK(!merge || plan.num_splits > 1);
    if (!merge) blocks += report.grid.x;
    launches += !merge;
    if (atomics) bytes += static_cast<double>(c.global_atomic_bytes);
    flops +=
        static_cast<double>(c.mma) * flops_of_mma(spec.dtype) + static_cast<double>(c.wgmma_flops);
    CHECK(c.ldmatrix_conflicts == 0 && c.stmatrix_conflicts == 0 && c.cp_async_conflicts == 0);
    CHECK(c.shared_load_conflicts == 0 && c.shared_store_conflicts == 0);
  }
  std::printf(
      "%-22s %4d x %4d, dim %3d, tiles %3d x %3d, %d splits: %9.0f bytes, %11.0f FLOPs; standard "
      "%9.0f bytes\n",
      spec.name, spec.seqlen_q, spec.seqlen_k, spec.head_dim, plan.tile_q, plan.tile_k,
      plan.num_splits, bytes, flops, plan.standard_bytes);
  const uint64_t indices = simt::take_watched_reads();
  bytes -= static_cast<double>(indices);
  if (bytes != plan.bytes || flops != plan.executed_flops)
    std::fprintf(stderr, "planned %.0f bytes, %.0f FLOPs\n", plan.bytes, plan.executed_flops);
  CHECK(bytes == plan.bytes);
  CHECK(flops == plan.executed_flops);
  if (plan.isa == "sm_80" && !atomics) CHECK(blocks == plan.work_items);
  if (!atomics) CHECK(launches == plan.launches);
  return indices;
}

void check(const Spec& spec, int device = kSm80) {
  const Problem problem(spec, 1);
  const cudaDeviceProp properties = use_device(device);
  const fa::AttentionPlan plan = fa::cuda::plan_attention(problem.device, properties);
  const bool wide = spec.head_dim > 256;
  const bool on_sm90 = device == kSm90 && (!wide || spec.latents);
  CHECK(plan.isa == (on_sm90 ? "sm_90a" : "sm_80"));
  if (wide) CHECK(plan.kernel == (on_sm90 ? "sm90.mla" : "sm80.mla"));
  simt::keep_reports();
  CHECK(simt_test::forward_call(problem, properties) == 0);
  check_reports(spec, plan, false);
}

/** On sm_90a, of float8. */
void check_float8(const Spec& spec) {
  const simt_test::Float8Problem problem(spec, 1);
  const cudaDeviceProp properties = use_device(kSm90);
  const fa::AttentionPlan plan = fa::cuda::plan_attention(problem.device, properties);
  CHECK(plan.kernel == "sm90.forward.float8");
  simt::keep_reports();
  CHECK(simt_test::forward_call(problem.device, properties) == 0);
  check_reports(spec, plan, false);
  CHECK(problem.wrong_values().empty());
}

/** On sm_90a, one full sequence of whole pages: each box of keys, and of values, is looked up. */
void check_pages(const Spec& spec, int box_keys) {
  Problem problem(spec, 1);
  problem.device.seqlens_k = {};
  const cudaDeviceProp properties = use_device(kSm90);
  const fa::AttentionPlan plan = fa::cuda::plan_attention(problem.device, properties);
  CHECK(plan.isa == "sm_90a");
  simt::keep_reports();
  CHECK(simt_test::forward_call(problem, properties) == 0);
  const int row_tiles = (spec.seqlen_q + plan.tile_q - 1) / plan.tile_q;
  const int boxes = row_tiles * spec.heads * (spec.seqlen_k / box_keys);
  CHECK(check_reports(spec, plan, false) == 2 * sizeof(int32_t) * static_cast<size_t>(boxes));
}

/** Of gradients on sm_90a. A multiple of 16 rows, as the blocks of elementwise/delta.cu have. */
void check_gradients(Spec spec) {
  spec.deterministic = false;  // waiting for turns reads as often as it has to
  for (const bool causal : {false, true}) {
    spec.causal = causal;
    const Problem problem(spec, 1);
    const cudaDeviceProp properties = use_device(kSm90);
    simt::keep_reports();
    CHECK(simt_test::forward_call(problem, properties) == 0);
    simt::take_reports();
    const fa::AttentionPlan plan =
        fa::cuda::plan_gradients(problem.device, problem.gradients, properties);
    CHECK(plan.isa == "sm_90a");
    simt::keep_reports();
    fa::cuda::attention_backward(problem.device, problem.gradients, {properties, nullptr});
    check_reports(spec, plan, true);
  }
}

/** Sequences of queries and keys; on sm_90a the longest are its own. */
void check_ragged(Spec spec, const std::vector<std::pair<int, int>>& lengths, int device = kSm80) {
  spec.lengths = lengths;
  spec.batch = static_cast<int>(lengths.size());
  spec.heads = 4;
  for (const auto& [queries, keys] : lengths) {
    spec.seqlen_q = std::max(spec.seqlen_q, queries);
    spec.seqlen_k = std::max(spec.seqlen_k, keys);
  }
  for (const int splits : {0, 1, 3}) {
    spec.num_splits = splits;
    check(spec, device);
  }
}

void check_tiles(Spec spec, int device = kSm80) {
  for (const bool causal : {false, true}) {
    spec.causal = causal;
    for (const int n : {spec.seqlen_q, 2 * spec.seqlen_q}) {
      Spec sized = spec;
      sized.seqlen_q = n;
      sized.seqlen_k = n;
      check(sized, device);
    }
  }
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm80,sm86,sm90", 1);
  Spec spec{"float16"};
  spec.seqlen_q = 190;  // 128 x 112
  check_tiles(spec);
  spec.name = "bfloat16";
  spec.dtype = DType::kBFloat16;
  spec.head_dim = spec.head_dim_v = 128;  // 128 x 64
  check_tiles(spec);
  check_tiles(spec, kSm86);  // 128 x 32
  spec.head_dim = spec.head_dim_v = 256;
  check_tiles(spec, kSm86);  // 128 x 32, 8 warps
  spec.head_dim = spec.head_dim_v = 128;
  spec.softcap = 8;
  check_tiles(spec, kSm86);  // 64 x 64
  spec.head_dim = spec.head_dim_v = 192;
  check_tiles(spec);  // 128 x 64, 8 warps
  spec.head_dim = spec.head_dim_v = 256;
  check_tiles(spec, kSm86);  // 128 x 32, 8 warps
  spec = Spec{"float32"};
  spec.seqlen_q = 190;
  spec.dtype = DType::kFloat32;
  spec.head_dim = spec.head_dim_v = 32;  // 64 x 64
  check_tiles(spec);

  spec = Spec{"few queries, split"};
  spec.heads = 8;
  spec.kv_heads = 2;
  spec.seqlen_q = 5;
  spec.seqlen_k = 500;
  spec.num_splits = 3;
  spec.head_dim = 40;
  spec.head_dim_v = 56;
  check(spec);
  spec.name = "decode, split";
  spec.seqlen_q = 4;
  check(spec);
  for (const bool codes : {false, true}) {
    Spec paged{codes ? "decode, int8 pages" : "decode, pages"};
    paged.heads = 8;
    paged.kv_heads = 2;
    paged.seqlen_q = 3;
    paged.seqlen_k = 500;
    paged.head_dim_v = 48;
    paged.page_size = 16;
    paged.causal = true;
    paged.int8_pages = codes;
    for (const int splits : {1, 3}) {
      paged.num_splits = splits;
      check(paged);
    }
  }
  spec.name = "window, more queries";
  spec.seqlen_q = 300;
  spec.seqlen_k = 200;
  spec.num_splits = 1;
  spec.window_left = 70;
  spec.window_right = 3;
  check(spec);

  for (const bool latents : {true, false}) {
    Spec wide{latents ? "latents" : "wide heads"};
    wide.latents = latents;
    wide.heads = 20;
    wide.kv_heads = 1;
    wide.seqlen_k = 300;
    wide.head_dim = latents ? 576 : 328;
    wide.head_dim_v = latents ? 512 : 264;
    wide.page_size = 16;
    wide.causal = true;
    for (const int queries : {1, 4}) {
      wide.seqlen_q = queries;
      for (const int splits : {1, 3}) {
        wide.num_splits = splits;
        check(wide);
        check(wide, kSm90);
      }
    }
    wide.heads = 4;
    wide.varlen = true;
    check_ragged(wide, {{1, 900}, {2, 40}, {1, 0}, {30, 70}});
    check_ragged(wide, {{1, 900}, {2, 40}, {1, 0}, {30, 70}}, kSm90);
  }

  spec = Spec{"ragged"};
  spec.varlen = true;
  check_ragged(spec, {{1, 900}, {0, 50}, {150, 200}, {1, 3}, {3, 0}, {20, 300}});
  spec.name = "ragged, causal";
  spec.causal = true;
  check_ragged(spec, {{1, 40}, {300, 500}, {9, 9}, {2, 700}});
  check_ragged(spec, {{1, 700}, {0, 50}, {150, 300}, {1, 3}, {3, 0}, {20, 300}, {200, 200}}, kSm90);
  spec.name = "ragged, pages";
  spec.page_size = 16;
  check_ragged(spec, {{1, 900}, {2, 40}, {1, 0}, {30, 70}});
  spec.name = "decode, pages";
  spec.varlen = false;
  spec.kv_heads = 1;
  check_ragged(spec, {{1, 900}, {1, 40}, {1, 0}, {1, 310}});
  spec.name = "decode, lengths";
  spec.page_size = 0;
  spec.seqlens_k = true;
  check_ragged(spec, {{1, 900}, {1, 40}, {1, 1}, {1, 310}});

  spec = Spec{"float16"};
  spec.seqlen_q = 230;  // 192 x 128
  check_tiles(spec, kSm90);
  spec.name = "bfloat16";
  spec.dtype = DType::kBFloat16;
  spec.head_dim = 104;  // 128 x 128, padded, queries packed
  spec.head_dim_v = 128;
  spec.kv_heads = 1;
  check_tiles(spec, kSm90);
  spec = Spec{"window"};
  spec.seqlen_q = 300;
  spec.seqlen_k = 420;
  spec.window_left = 170;
  spec.window_right = 3;
  check(spec, kSm90);

  spec = Spec{"chunk of a prompt"};
  spec.seqlen_q = 100;
  spec.seqlen_k = 900;
  spec.causal = true;
  spec.num_splits = 3;
  check(spec, kSm90);
  spec = Spec{"pages"};
  spec.seqlen_q = 230;
  spec.seqlen_k = 336;
  spec.page_size = 16;
  check_pages(spec, 16);
  spec.page_size = 48;
  check_pages(spec, 16);

  for (const int page_size : {0, 16}) {
    for (const int splits : {1, 3}) {
      spec = Spec{page_size ? "float8, pages" : "float8, packed"};
      spec.varlen = spec.causal = true;
      spec.page_size = page_size;
      spec.num_splits = splits;
      spec.lengths = {{1, 300}, {0, 50}, {150, 420}, {3, 0}, {200, 200}};
      spec.batch = 5;
      spec.head_dim = spec.head_dim_v = 128;
      spec.kv_heads = 1;
      check_float8(spec);
    }
  }

  spec = Spec{"gradients, float16"};
  spec.seqlen_q = 304;
  spec.seqlen_k = 420;  // 128 x 128
  check_gradients(spec);
  spec.name = "gradients, bfloat16";
  spec.dtype = DType::kBFloat16;
  spec.kv_heads = 1;
  spec.head_dim = 104;  // 64 x 128, padded
  spec.head_dim_v = 128;
  check_gradients(spec);
  spec.name = "gradients, wide";
  spec.seqlen_q = 176;
  spec.seqlen_k = 230;
  spec.head_dim = 136;  // 64 x 96, padded
  check_gradients(spec);
  spec.dtype = DType::kFloat16;
  spec.head_dim = spec.head_dim_v = 256;  // 64 x 80
  check_gradients(spec);
  return 0;
}
