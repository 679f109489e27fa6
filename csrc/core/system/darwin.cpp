#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include <algorithm>

#include "core/system.h"

namespace fa {

namespace {

/** A number or structure of sysctl(3); `otherwise` when there is none of that name. */
template <typename Value>
Value system_value(const char* name, Value otherwise) {
  Value value{};
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && size == sizeof value ? value
                                                                                    : otherwise;
}

}  // namespace

int usable_cores() { return std::max(static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)), 1); }

uint64_t physical_memory() { return system_value<uint64_t>("hw.memsize", UINT64_MAX / 2); }

uint64_t usable_memory() {
  return physical_memory() + system_value<xsw_usage>("vm.swapusage", {}).xsu_total;
}

std::string cpu_model() {
  char text[128] = "";
  size_t size = sizeof text;
  return sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0 ? text : "";
}

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void* map_pages(size_t bytes) {
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

void unmap_pages(void* data, size_t bytes) { munmap(data, bytes); }

void ask_for_huge_pages(void*, size_t) {}  // it has none to ask for

void prepare_thread(const char* name) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  pthread_setname_np(name);
}

void stay_loaded() {
  Dl_info library;
  if (dladdr(reinterpret_cast<const void*>(&stay_loaded), &library) != 0) {
    dlopen(library.dli_fname, RTLD_LAZY | RTLD_NODELETE);
  }
}

}  // namespace fa
