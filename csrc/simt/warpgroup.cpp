#include "simt/warpgroup.h"

#include <algorithm>

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;
constexpr int kRegistersOfMultiprocessor = 65536;
constexpr int kRegisterUnit = 8;
constexpr int kMostRegisters = 256;

}  // namespace

int registers_at_launch(int threads) {
  const int each = kRegistersOfMultiprocessor / threads / kRegisterUnit * kRegisterUnit;
  return std::min(each, kMostRegisters);
}

bool elect(const Location& at) {
  require_sm90("elect", at);
  collective("elect", kAllLanes, nullptr, at, [](Warp&) {});
  return current->lane == static_cast<int>(execution.config.seed * 0x9e3779b97f4a7c15ull >> 59);
}

void take_registers(int count, const Location& at) {
  require_sm90("setmaxnreg", at);
  collective("setmaxnreg.inc", kAllLanes, nullptr, at, [&](Warp& warp) {
    RegisterPool& pool = warp.block->registers;
    if (count < warp.registers)
      fail(at, "setmaxnreg.inc to %d: the warp has %d registers", count, warp.registers);
    current->wanted_registers = count;
    while (pool.free < count - warp.registers) {
      pool.waiting.push_back(current);
      block_current(kRegisterWait, at);
    }
    pool.free -= count - warp.registers;
    warp.registers = count;
  });
}

void give_registers(int count, const Location& at) {
  require_sm90("setmaxnreg", at);
  collective("setmaxnreg.dec", kAllLanes, nullptr, at, [&](Warp& warp) {
    RegisterPool& pool = warp.block->registers;
    if (count > warp.registers)
      fail(at, "setmaxnreg.dec to %d: the warp has %d registers", count, warp.registers);
    pool.free += warp.registers - count;
    warp.registers = count;
    for (Thread* thread : pool.waiting) wake(*thread);
    pool.waiting.clear();
  });
}

std::string describe_register_wait(const Thread& thread) {
  return format(" from %d to %d registers, of which %d are free", thread.warp->registers,
                thread.wanted_registers, thread.block->registers.free);
}

void check_registers_at_end(const Block& block) {
  for (const Warp& warp : block.warps) {
    const Warp& first =
        block.warps[static_cast<size_t>(warp.index / kWarpsOfGroup * kWarpsOfGroup)];
    if (warp.registers != first.registers)
      note_failure(format(
          ", block (%u, %u, %u): setmaxnreg left warp %d with %d registers, and warp %d of its "
          "group with %d",
          block.index.x, block.index.y, block.index.z, warp.index, warp.registers, first.index,
          first.registers));
  }
}

}  // namespace simt
