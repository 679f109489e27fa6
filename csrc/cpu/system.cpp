#include "cpu/system.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "cpu/cgroup.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/sysinfo.h>

#include <cstdio>
#endif

namespace fa::cpu {

namespace {

#if defined(__linux__)

int affinity_cores() {
  // The kernel refuses a set smaller than its own, which may be larger than CPU_SETSIZE.
  for (int capacity = CPU_SETSIZE; capacity <= 1 << 20; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(capacity);
    if (set == nullptr) return 0;
    const size_t bytes = CPU_ALLOC_SIZE(capacity);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int cores = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (known) return cores;
  }
  return 0;
}

struct Memory {
  uint64_t ram = 0, swap = 0;
};

Memory system_memory() {
  struct sysinfo info = {};
  if (sysinfo(&info) != 0) return {UINT64_MAX / 2, 0};
  return {uint64_t{info.totalram} * info.mem_unit, uint64_t{info.totalswap} * info.mem_unit};
}

#else

int affinity_cores() { return 0; }
struct Memory {
  uint64_t ram = UINT64_MAX / 2, swap = 0;
};
Memory system_memory() { return {}; }

#endif

}  // namespace

int usable_cores() {
  int cores = affinity_cores();
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  const double quota = cgroup_cpu_quota();
  if (quota > 0 && quota < cores) {
    const int whole = static_cast<int>(quota);
    cores = quota > whole ? whole + 1 : whole;
  }
  return std::max(cores, 1);
}

uint64_t physical_memory() { return system_memory().ram; }

uint64_t usable_memory() {
  const Memory memory = system_memory();
  return std::min(memory.ram, cgroup_memory_limit()) + memory.swap;
}

std::string cpu_model() {
  std::string model;
#if defined(__linux__)
  FILE* file = std::fopen("/proc/cpuinfo", "re");
  if (file == nullptr) return model;
  char line[256];
  while (model.empty() && std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, "model name", 10) != 0) continue;
    const char* value = std::strchr(line, ':');
    if (value == nullptr) break;
    value += std::strspn(value, ": \t");
    model.assign(value, std::strcspn(value, "\n"));
  }
  std::fclose(file);
#endif
  return model;
}

}  // namespace fa::cpu
