#include "simt/launch.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <numeric>

#include "simt/execution.h"
#include "simt/global_memory.h"
#include "simt/overlap.h"
#include "simt/proxy.h"
#include "simt/report.h"
#include "simt/scheduler.h"
#include "simt/vocabulary.h"

namespace simt {

Counters running_counters;

namespace {

std::mutex one_at_a_time;
const std::function<void()>* thread_body = nullptr;

void thread_entry() {
  (*thread_body)();
  exit_thread();
}

unsigned volume(const dim3& size) { return size.x * size.y * size.z; }

dim3 unflatten(unsigned index, const dim3& size) {
  return {index % size.x, index / size.x % size.y, index / (size.x * size.y)};
}

void start_warp(Block& block, int index, int threads) {
  Warp& warp = block.warps[static_cast<size_t>(index)];
  const int lanes = std::min(kLanes, threads - index * kLanes);
  const uint32_t start = block.shared.checker().start();
  warp.block = &block;
  warp.index = index;
  warp.slot = block.slot * execution.warps_per_block + index;
  warp.alive = warp.ready = lanes == kLanes ? 0xffffffffu : (1u << lanes) - 1;
  warp.priority = static_cast<int64_t>(random_bits() % 1000);
  for (Rendezvous& each : warp.rendezvous) each = {};
  warp.bulk_time = start;
  warp.registers = registers_at_launch(threads);
  warp.products = {};
  warp.clock.set_all(start);
  ++warp.time();
  for (int lane = 0; lane < lanes; ++lane) {
    Thread& thread = block.threads[static_cast<size_t>(index * kLanes + lane)];
    warp.threads[lane] = &thread;
    thread.block = &block;
    thread.warp = &warp;
    thread.index = index * kLanes + lane;
    thread.lane = lane;
    thread.exited = thread.polling = thread.waited_for_primary = false;
    thread.seen = warp.time();
    thread.waits_for = nullptr;
    thread.at = {};
    thread.copies = {};
    thread.bulk_group = 0;
    for (auto& fences : thread.fences) fences.clear();
    thread.acquired = 0;
    if (!thread.stack) thread.stack = take_stack();
    prepare(thread.context, thread.stack, thread.index, thread_entry);
  }
  execution.warps[warp.slot] = &warp;
  execution.ready |= uint64_t{1} << warp.slot;
}

void start_block(Block& block, unsigned index) {
  const int threads = static_cast<int>(volume(execution.block));
  block.active = true;
  block.number = index;
  block.index = unflatten(index, execution.grid);
  block.live = threads;
  block.launched_dependents = false;
  block.threads.resize(static_cast<size_t>(threads));
  block.warps.resize(static_cast<size_t>(execution.warps_per_block));
  for (Barrier& barrier : block.barriers) barrier = {};
  block.mbarriers.clear();
  block.in_flight = {};
  block.registers = {};
  block.warpgroups.clear();
  block.warpgroups.resize(
      static_cast<size_t>((execution.warps_per_block + kWarpsOfGroup - 1) / kWarpsOfGroup));
  block.shared.reset(execution.dynamic_shared_bytes, execution.warps_per_block);
  for (int warp = 0; warp < execution.warps_per_block; ++warp) start_warp(block, warp, threads);
  ++execution.progress;
}

void finish_block(Block& block) {
  block.active = false;
  finish_in_flight(block);
  uint32_t latest = 0;
  for (Warp& warp : block.warps) {
    warp.accesses.flush();
    latest = std::max({latest, warp.time(), warp.bulk_time,
                       block.shared.checker().start() + warp.products.batches + 1});
  }
  for (const Mbarrier& barrier : block.mbarriers)
    latest = std::max(latest, barrier.time(block.shared.checker().start()));
  block.shared.checker().finish(latest);
  check_barriers_at_end(block);
  check_products_at_end(block);
  check_registers_at_end(block);
}

/** The order in which blocks start; the hardware promises none. */
std::vector<unsigned> block_order() {
  std::vector<unsigned> order(volume(execution.grid));
  std::iota(order.begin(), order.end(), 0u);
  if (execution.config.policy != Policy::kInOrder)
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_bits() % i]);
  return order;
}

void run_blocks() {
  const std::vector<unsigned> order = block_order();
  const size_t most = static_cast<size_t>(kWarpSlots / execution.warps_per_block);
  size_t resident =
      std::min(most, static_cast<size_t>(std::max(1, execution.config.resident_blocks)));
  size_t next = 0, active = 0;
  while (!execution.failed && (next < order.size() || active > 0)) {
    for (size_t slot = 0; slot < resident && next < order.size(); ++slot) {
      if (slot == execution.blocks.size()) {
        execution.blocks.push_back(std::make_unique<Block>());
        execution.blocks.back()->slot = static_cast<int>(slot);
      }
      if (execution.blocks[slot]->active) continue;
      start_block(*execution.blocks[slot], order[next++]);
      ++active;
    }
    execution.can_start_block = next < order.size() && active < most;
    run();
    if (execution.failed) return;
    bool ended = false;
    for (const auto& block : execution.blocks) {
      if (!block->active || block->live > 0) continue;
      finish_block(*block);
      --active;
      ended = true;
    }
    if (!ended) resident = std::min(most, resident + 1);  // all poll: perhaps for a block to come
  }
}

std::string invalid_shape(const dim3& grid, const dim3& block) {
  if (volume(grid) == 0 || volume(block) == 0) return "an empty grid or block";
  if (volume(block) > kMaxWarps * kLanes) return "a block of more than 1024 threads";
  return {};
}

void release_blocks() {
  for (const auto& block : execution.blocks)
    for (Thread& thread : block->threads)
      if (thread.stack) give_back_stack(thread.stack);
  execution.blocks.clear();
}

}  // namespace

dim3 thread_index() { return unflatten(static_cast<unsigned>(current->index), execution.block); }
dim3 block_index() { return current->block->index; }
dim3 block_size() { return execution.block; }
dim3 grid_size() { return execution.grid; }

Report run_grid(const std::string& kernel, dim3 grid, dim3 block, size_t dynamic_shared_bytes,
                const Config& config, const std::function<void()>& body) {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  Report report{kernel, grid, block, invalid_shape(grid, block)};
  if (!report.ok()) return report;

  const auto start = std::chrono::steady_clock::now();
  running_counters = {};
  const int warps = static_cast<int>((volume(block) + kLanes - 1) / kLanes);
  if (warps != execution.warps_per_block) release_blocks();
  execution.kernel = kernel.c_str();
  execution.grid = grid;
  execution.block = block;
  execution.dynamic_shared_bytes = dynamic_shared_bytes;
  execution.config = config;
  execution.warps_per_block = warps;
  execution.random_state = (config.seed + 1) * 0x9e3779b97f4a7c15ull | 1;
  execution.ready = execution.progress = 0;
  execution.lowest_priority = 0;
  execution.until_yield = 1;
  execution.failed = false;
  execution.error.clear();
  thread_body = &body;
  begin_global_accesses();
  begin_proxies();
  begin_overlap();
  run_blocks();
  end_overlap();

  if (execution.failed) release_blocks();
  report.error = execution.error;
  report.counters = running_counters;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace simt
