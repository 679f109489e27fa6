#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/system.h"
#include "core/system/linux_cgroup.h"
#include "core/system/linux_topology.h"

namespace fa {

namespace {

/** The processors that this process may run on; empty when the system does not say. */
std::vector<int> allowed_processors() {
  std::vector<int> allowed;
  // The kernel refuses a set smaller than its own, which may be larger than CPU_SETSIZE.
  for (int capacity = CPU_SETSIZE; capacity <= 1 << 20; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(capacity);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(capacity);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int processor = 0; known && processor < capacity; ++processor)
      if (CPU_ISSET_S(processor, bytes, set)) allowed.push_back(processor);
    CPU_FREE(set);
    if (known) break;
  }
  return allowed;
}

struct Memory {
  uint64_t ram = 0, swap = 0;
};

Memory system_memory() {
  struct sysinfo info = {};
  if (sysinfo(&info) != 0) return {UINT64_MAX / 2, 0};
  return {uint64_t{info.totalram} * info.mem_unit, uint64_t{info.totalswap} * info.mem_unit};
}

/** What the first line of /proc/cpuinfo that begins with `key` says; empty when there is none. */
std::string cpuinfo(const char* key) {
  std::string value;
  FILE* file = std::fopen("/proc/cpuinfo", "re");
  if (file == nullptr) return value;
  char line[256];
  while (value.empty() && std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, key, std::strlen(key)) != 0) continue;
    const char* text = std::strchr(line, ':');
    if (text == nullptr) break;
    text += std::strspn(text, ": \t");
    value.assign(text, std::strcspn(text, "\n"));
  }
  std::fclose(file);
  return value;
}

/** An ARM kernel knows the numbers of a core's design, not its name. */
std::string arm_model(const std::string& implementer, const std::string& part) {
  static constexpr struct {
    int part;
    const char* name;
  } kArmLimited[] = {{0xd08, "Cortex-A72"},  {0xd0b, "Cortex-A76"},  {0xd0c, "Neoverse N1"},
                     {0xd40, "Neoverse V1"}, {0xd49, "Neoverse N2"}, {0xd4f, "Neoverse V2"},
                     {0xd84, "Neoverse V3"}, {0xd8e, "Neoverse N3"}};
  if (part.empty()) return "";
  const long number = std::strtol(part.c_str(), nullptr, 16);
  if (std::strtol(implementer.c_str(), nullptr, 16) == 0x41) {
    for (const auto& core : kArmLimited) {
      if (core.part == number) return std::string("ARM ") + core.name;
    }
  }
  return "ARM implementer " + implementer + ", part " + part;
}

}  // namespace

int usable_cores() {
  int cores = count_cores(allowed_processors());
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
  const std::string name = cpuinfo("model name");
  return name.empty() ? arm_model(cpuinfo("CPU implementer"), cpuinfo("CPU part")) : name;
}

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void* map_pages(size_t bytes) {
  // mmap aligns to small pages only: map more, then give back what lies outside.
  void* address =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(address);
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (head > 0) munmap(begin, head);
  if (kHugePage > head) munmap(begin + head + bytes, kHugePage - head);
  madvise(begin + head, bytes, MADV_HUGEPAGE);  // a hint: systems without huge pages refuse it
  return begin + head;
}

void unmap_pages(void* data, size_t bytes) { munmap(data, bytes); }

void ask_for_huge_pages(void* data, size_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + page_size() - 1) / page_size() * page_size();
  const uintptr_t end = (address + bytes) / page_size() * page_size();
  if (end >= begin + kHugePage) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

void prepare_thread(const char* name) {
  // Not pthread_sigmask and pthread_setname_np: newer glibc versions moved them, and a binary
  // linked there would not load on older systems. On Linux these do the same for the calling
  // thread.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  prctl(PR_SET_NAME, name, 0, 0, 0);
}

void stay_loaded() {}  // the linker marks the file (-z nodelete)

}  // namespace fa
