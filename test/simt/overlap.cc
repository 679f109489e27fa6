// Launches that overlap (programmatic dependent launch): what a kernel may touch before the one in
// front of it has ended, and what the host asks for, call by call and in graphs.
#include <cstdlib>
#include <string>

#include "cuda/base/graph.h"
#include "cuda/base/launch.h"
#include "cuda/ptx/ptx.h"
#include "device_array.h"
#include "misuse.h"
#include "simt/call_log.h"
#include "simt/global_memory.h"
#include "simt/launch_log.h"

namespace {

using namespace fa::cuda;

struct Params {
  float* data;    // 64 floats that the primary reads, 64 that it writes, 128 that it leaves alone
  bool mistaken;  // false: the same kernel without its mistake
};

// ── What a kernel may not touch before it waits ──────────────────────────────────────────────────

// All run with 2 blocks of 64 threads behind this one.
void primary(Params p) {
  ptx::launch_dependents();
  const float value = ptx::ldg(p.data + threadIdx.x);
  if (blockIdx.x == 0) ptx::stg(p.data + 64 + threadIdx.x, value);
}

void reads_too_early(Params p) {
  if (!p.mistaken) ptx::wait_for_primary();
  const float value = ptx::ldg(p.data + 64 + threadIdx.x);
  ptx::wait_for_primary();
  ptx::stg(p.data + 128 + threadIdx.x, value);
}

void copies_too_early(Params p) {
  if (!p.mistaken) ptx::wait_for_primary();
  ptx::cp_async4(ptx::dyn_smem() + 4 * threadIdx.x, p.data + 64 + threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  ptx::wait_for_primary();
}

void engine_reads_too_early(Params p) {
  const uint32_t s = ptx::dyn_smem(), barrier = s + 512;
  if (threadIdx.x == 0) {
    ptx::mbar_init(barrier, 1);
    ptx::fence_mbar_init();
    if (!p.mistaken) ptx::wait_for_primary();
    ptx::mbar_arrive_expect_tx(barrier, 256);
    ptx::bulk_load(s, p.data + 64, 256, barrier);
    ptx::mbar_wait(barrier, 0);
  }
  ptx::wait_for_primary();
}

void writes_over_what_is_read(Params p) {
  if (!p.mistaken) ptx::wait_for_primary();
  ptx::stg(p.data + threadIdx.x, 1.0f);
  ptx::wait_for_primary();
}

void writes_over_what_is_written(Params p) {
  if (!p.mistaken) ptx::wait_for_primary();
  ptx::stg(p.data + 64 + threadIdx.x, 1.0f);
  ptx::wait_for_primary();
}

void adds_to_what_is_written(Params p) {
  if (!p.mistaken) ptx::wait_for_primary();
  ptx::atomic_add(p.data + 64, 1.0f);
  ptx::wait_for_primary();
}

void another_thread_has_waited(Params p) {
  if (threadIdx.x == 0 || !p.mistaken) ptx::wait_for_primary();
  ptx::sync_block();
  ptx::ldg(p.data + 64 + threadIdx.x);
}

void nobody_waits(Params p) {
  ptx::stg(p.data + 128 + threadIdx.x, ptx::ldg(p.data + threadIdx.x));
  if (blockIdx.x == 1 && !p.mistaken) ptx::wait_for_primary();
}

int check_mistakes() {
  const std::vector<Mistake<Params>> mistakes = {
      MISTAKE(reads_too_early, "race: global read"),
      MISTAKE(copies_too_early, "race: global read"),
      MISTAKE(engine_reads_too_early, "race: global read"),
      MISTAKE(writes_over_what_is_read, "what the kernel in front reads"),
      MISTAKE(writes_over_what_is_written, "what the kernel in front writes"),
      MISTAKE(adds_to_what_is_written, "what the kernel in front writes"),
      MISTAKE(another_thread_has_waited, "no wait_for_primary in this thread"),
      MISTAKE(nobody_waits, "no thread calls wait_for_primary"),
  };
  const auto make = [](bool mistaken) {
    const Params params{static_cast<float*>(simt::allocate_global(256 * sizeof(float))), mistaken};
    const simt::Report report = simt::launch("primary", primary, 2, 64, 0, {}, params);
    CHECK(report.ok() && report.counters.early_blocks == 2);
    return params;
  };
  const auto release = [](const Params& params) { simt::free_global(params.data); };
  return run_mistakes(mistakes, 64, 1024, make, release, true);
}

// ── What the host asks for ───────────────────────────────────────────────────────────────────────

__global__ void add_one(const __grid_constant__ Params p) {
  ptx::launch_dependents();
  if (!p.mistaken) ptx::wait_for_primary();
  if (threadIdx.x == 0) ptx::stg(p.data, ptx::ldg(p.data) + 1);
  ptx::wait_for_primary();
}

// Of the devices below; kOlderCode is an H100 in a build of PTX of compute_80 alone.
constexpr int kSm80 = 0, kSm90 = 1, kSm120 = 2, kOlderCode = 3, kDevices = 4;

Queue queue_on(int device) {
  static cudaDeviceProp properties[kDevices];
  cudaStream_t stream = nullptr;
  CHECK(cudaSetDevice(device) == cudaSuccess);
  CHECK(cudaGetDeviceProperties(&properties[device], device) == cudaSuccess);
  CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0) == cudaSuccess);
  return {properties[device], stream};
}

/** How often `enqueue` launched, and how often so that launches may overlap. */
template <typename Enqueue>
void check_launches(int after, int overlapping, Enqueue enqueue) {
  simt::keep_calls();
  enqueue();
  for (const simt::Call& call : simt::take_calls()) {
    after -= call.function == "cudaLaunchKernel";
    overlapping -= call.function == "cudaLaunchKernelEx";
  }
  CHECK(after == 0 && overlapping == 0);
}

void add_twice(const Queue& queue, const Params& params) {
  launch(add_one, 1, 32, 0, queue, params);
  launch(add_one, 1, 32, 0, queue, params, Order::kOverlaps);
}

void check_devices() {
  for (int device = 0; device < kDevices; ++device) {
    const Queue queue = queue_on(device);
    const bool overlaps = device == kSm90 || device == kSm120;
    CHECK(can_overlap(reinterpret_cast<const void*>(add_one)) == overlaps);
    DeviceArray<float> data(256);
    check_launches(overlaps ? 1 : 2, overlaps ? 1 : 0, [&] {
      add_twice(queue, {data.device(), false});
    });
    CHECK(data.read()[0] == 2);
    const GraphExec graph = capture(queue, [&](const Queue& noted) {
      add_twice(noted, {data.device(), false});
    });
    for (int i = 0; i < 3; ++i) launch(graph, queue);
    CHECK(data.read()[0] == 8);
  }
}

/** Code that cannot wait is not launched to do so, whatever the device can. */
void check_older_code(int device) {
  const Queue queue = queue_on(device);
  DeviceArray<float> data(256);
  cudaLaunchAttribute overlaps{cudaLaunchAttributeProgrammaticStreamSerialization, {1}};
  const cudaLaunchConfig_t config{1, 32, 0, queue.stream, &overlaps, 1};
  const Params params{data.device(), false};
  CHECK(cudaLaunchKernelEx(&config, add_one, params) == cudaErrorInvalidValue);
  overlaps.val.programmaticStreamSerializationAllowed = 0;
  CHECK(cudaLaunchKernelEx(&config, add_one, params) == cudaSuccess);
  CHECK(data.read()[0] == 1);
  cudaGetLastError();
}

/** A replay is looked at like a call. */
void check_race_in_a_graph() {
  const Queue queue = queue_on(kSm90);
  DeviceArray<float> data(256);
  const GraphExec graph = capture(queue, [&](const Queue& noted) {
    add_twice(noted, {data.device(), true});
  });
  launch(graph, queue);
  CHECK(cudaStreamSynchronize(queue.stream) == cudaErrorLaunchFailure);
  CHECK(std::string(cudaGetErrorString(cudaErrorLaunchFailure)).find("race: global read") !=
        std::string::npos);
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm80,sm90,sm120,sm90/80", 1);
  if (check_mistakes() > 0) return 1;
  check_devices();
  check_older_code(kSm80);
  check_older_code(kOlderCode);
  check_race_in_a_graph();
  std::printf("overlap: passed\n");
}
