// The IO argument (Dao et al. 2022, Theorem 2), counted: the bytes that the kernels move and the
// FLOPs that they execute are exactly those of the plan, for several tile sizes, causal and full,
// split and not, on sm_80 and on sm_90a (there of the gradients, too); and no copy into a tile and
// no load from one meets a bank conflict.
#include <cstdio>
#include <cstdlib>

#include "cuda/runtime/backward.h"
#include "cuda/runtime/backward_plan.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/plan.h"
#include "device_array.h"
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

constexpr int kSm80 = 0, kSm90 = 1;  // of kDevices

cudaDeviceProp use_device(int device) {
  cudaDeviceProp properties;
  CHECK_CUDA(cudaSetDevice(device));
  CHECK_CUDA(cudaGetDeviceProperties(&properties, device));
  return properties;
}

/**
 * What has been launched since keep_reports() against its plan, which knows of atomics where they
 * move results, and not of index tensors, of which so many bytes are read.
 */
void check_reports(const Spec& spec, const fa::AttentionPlan& plan, bool atomics,
                   double index_bytes = 0) {
  double bytes = -index_bytes, flops = 0;
  for (const simt::Report& report : simt::take_reports()) {
    if (!report.ok()) std::fprintf(stderr, "%s\n", report.error.c_str());
    CHECK(report.ok());
    const simt::Counters& c = report.counters;
    // Of these there are none, and that is all that is read.
    if (report.kernel.find("extreme_rows") != std::string::npos) continue;
    bytes += static_cast<double>(c.global_read_bytes + c.global_written_bytes);
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
  if (bytes != plan.bytes || flops != plan.executed_flops)
    std::fprintf(stderr, "planned %.0f bytes, %.0f FLOPs\n", plan.bytes, plan.executed_flops);
  CHECK(bytes == plan.bytes);
  CHECK(flops == plan.executed_flops);
}

void check(const Spec& spec, int device = kSm80) {
  const Problem problem(spec, 1);
  const cudaDeviceProp properties = use_device(device);
  const fa::AttentionPlan plan = fa::cuda::plan_attention(problem.device, properties);
  CHECK(plan.isa == (device == kSm80 ? "sm_80" : "sm_90a"));
  simt::keep_reports();
  fa::cuda::attention_forward(problem.device, {properties, nullptr});
  check_reports(spec, plan, false);
}

/** Over pages: every warp looks a tile's 32 keys up, and each thread the sequence's length. */
void check_pages(const Spec& spec) {
  const Problem problem(spec, 1);
  const cudaDeviceProp properties = use_device(kSm80);
  const fa::AttentionPlan plan = fa::cuda::plan_attention(problem.device, properties);
  CHECK(plan.kernel.find("sm80.decode") == 0 && plan.tile_k == 32);
  simt::keep_reports();
  fa::cuda::attention_forward(problem.device, {properties, nullptr});
  const double tiles = static_cast<double>(plan.tiles_full + plan.tiles_partial);
  const double threads = static_cast<double>(plan.work_items) * plan.threads;
  check_reports(spec, plan, false, 4 * (32 * tiles + threads));
}

/** On sm_90a, one full sequence of whole pages: each box of keys, and of values, is looked up. */
void check_boxes(const Spec& spec, int box_keys) {
  Problem problem(spec, 1);
  problem.device.seqlens_k = {};
  const cudaDeviceProp properties = use_device(kSm90);
  const fa::AttentionPlan plan = fa::cuda::plan_attention(problem.device, properties);
  CHECK(plan.isa == "sm_90a");
  simt::keep_reports();
  fa::cuda::attention_forward(problem.device, {properties, nullptr});
  const int row_tiles = (spec.seqlen_q + plan.tile_q - 1) / plan.tile_q;
  check_reports(spec, plan, false,
                2. * sizeof(int32_t) * row_tiles * spec.heads * (spec.seqlen_k / box_keys));
}

/** Of gradients on sm_90a. A multiple of 16 rows, as the blocks of elementwise/delta.cu have. */
void check_gradients(Spec spec) {
  spec.deterministic = false;  // waiting for turns reads as often as it has to
  for (const bool causal : {false, true}) {
    spec.causal = causal;
    const Problem problem(spec, 1);
    const cudaDeviceProp properties = use_device(kSm90);
    simt::keep_reports();
    fa::cuda::attention_forward(problem.device, {properties, nullptr});
    simt::take_reports();
    const fa::AttentionPlan plan =
        fa::cuda::plan_gradients(problem.device, problem.gradients, properties);
    CHECK(plan.isa == "sm_90a");
    simt::keep_reports();
    fa::cuda::attention_backward(problem.device, problem.gradients, {properties, nullptr});
    check_reports(spec, plan, true);
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
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm80,sm90", 1);
  Spec spec{"float16"};
  spec.seqlen_q = 190;  // 128 x 112
  check_tiles(spec);
  spec.name = "bfloat16";
  spec.dtype = DType::kBFloat16;
  spec.head_dim = spec.head_dim_v = 128;  // 128 x 64
  check_tiles(spec);
  spec.name = "float32";
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
      check_pages(paged);
    }
  }
  spec.name = "window, more queries";
  spec.seqlen_q = 300;
  spec.seqlen_k = 200;
  spec.num_splits = 1;
  spec.window_left = 70;
  spec.window_right = 3;
  check(spec);

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
  check_boxes(spec, 16);
  spec.page_size = 48;
  check_boxes(spec, 16);

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
  return 0;
}
