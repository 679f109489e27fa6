#include "cpu/isa.h"

#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "cpu/ops.h"
#include "cpu/x86.h"

namespace fa::cpu {

namespace {

struct Level {
  const KernelTable* table;
  bool runs;
};

/** Best first. */
std::vector<Level> levels() {
  std::vector<Level> all;
#if defined(FA_ISA_V4_BF16)
  all.push_back({&kKernelsV4Bf16, x86::level() >= 4 && x86::has_avx512_bf16()});
#endif
#if defined(FA_ISA_V4)
  all.push_back({&kKernelsV4, x86::level() >= 4});
#endif
#if defined(FA_ISA_V3)
  all.push_back({&kKernelsV3, x86::level() >= 3});
#endif
#if defined(FA_ISA_V2)
  all.push_back({&kKernelsV2, x86::level() >= 2});
#endif
#if defined(FA_ISA_WIDE)
  all.push_back({&kKernelsWide, x86::level() >= 3});
#endif
#if defined(FA_ISA_WIDE_BF16)
  all.push_back({&kKernelsWideBf16, x86::level() >= 3});
#endif
#if defined(FA_ISA_NEON)
  all.push_back({&kKernelsNeon, true});
#endif
  return all;
}

const KernelTable& choose() {
  const char* wanted = std::getenv("FLASH_ATTENTION_CPU_ISA");
  const bool pinned = wanted != nullptr && *wanted != '\0';
  std::string names;
  for (const Level& level : levels()) {
    if (!level.runs) continue;
    if (!pinned || std::strcmp(level.table->name, wanted) == 0) return *level.table;
    names += names.empty() ? level.table->name : std::string(", ") + level.table->name;
  }
  if (names.empty())
    throw Error(
        ErrorCode::kDeviceUnavailable, "device",
        "Expected a processor with at least the instructions of x86-64-v2 but this one lacks some");
  throw Error(ErrorCode::kOption, "FLASH_ATTENTION_CPU_ISA",
              "Expected FLASH_ATTENTION_CPU_ISA to be one of " + names + " but received " + wanted);
}

}  // namespace

const KernelTable& kernels() {
  static const KernelTable& table = choose();
  return table;
}

const std::string& isa() {
  static const std::string name = kernels().name;
  return name;
}

std::vector<std::string> isa_levels() {
  std::vector<std::string> names;
  for (const Level& level : levels()) {
    if (level.runs) names.push_back(level.table->name);
  }
  return names;
}

}  // namespace fa::cpu
