#include "core/system/linux_cgroup.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "core/system/linux_file.h"

namespace fa {

namespace {

/** True when `list` ("cpu,cpuacct") holds `name`. */
bool lists(const char* list, const char* name) {
  const size_t length = std::strlen(name);
  for (const char* at = list; (at = std::strstr(at, name)) != nullptr; at += length) {
    const bool starts = at == list || at[-1] == ',';
    const bool ends = at[length] == '\0' || at[length] == ',';
    if (starts && ends) return true;
  }
  return false;
}

/**
 * Calls `visit` with the folder of the group this process is in and with those of all its
 * ancestors: each may set a limit. `controller` is null for version 2. Folders that do not exist
 * here (a container sees only its own part of the tree) do no harm: their files read as empty.
 */
void each_group(const char* controller, const std::function<void(const std::string&)>& visit) {
  FILE* file = std::fopen("/proc/self/cgroup", "re");
  if (file == nullptr) return;
  char line[4096];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    char* controllers = std::strchr(line, ':');  // "4:cpu,cpuacct:/path", version 2 "0::/path"
    if (controllers == nullptr) continue;
    ++controllers;
    char* path = std::strchr(controllers, ':');
    if (path == nullptr) continue;
    *path++ = '\0';
    path[std::strcspn(path, "\n")] = '\0';
    if (controller == nullptr ? *controllers != '\0' : !lists(controllers, controller)) continue;
    const std::string mount = "/sys/fs/cgroup" + (controller ? "/" + std::string(controllers) : "");
    std::string group = path;
    if (group == "/") group.clear();
    visit(mount + group);
    while (!group.empty()) {
      group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
      visit(mount + group);
    }
  }
  std::fclose(file);
}

}  // namespace

double cgroup_cpu_quota() {
  double lowest = 0;
  const auto limit = [&lowest](double quota, double period) {
    if (quota <= 0 || period <= 0) return;  // "max" reads as 0, and version 1 says -1
    if (lowest == 0 || quota / period < lowest) lowest = quota / period;
  };
  each_group(nullptr, [&](const std::string& group) {
    const std::string line = first_line(group + "/cpu.max");  // "150000 100000", "max 100000"
    char* rest = nullptr;
    const double quota = std::strtod(line.c_str(), &rest);
    limit(quota, std::strtod(rest, nullptr));
  });
  each_group("cpu", [&](const std::string& group) {
    const std::string quota = first_line(group + "/cpu.cfs_quota_us");
    const std::string period = first_line(group + "/cpu.cfs_period_us");
    limit(std::strtod(quota.c_str(), nullptr), std::strtod(period.c_str(), nullptr));
  });
  return lowest;
}

uint64_t cgroup_memory_limit() {
  uint64_t lowest = UINT64_MAX;
  const auto limit = [&lowest](const std::string& line) {
    const unsigned long long bytes = std::strtoull(line.c_str(), nullptr, 10);
    if (bytes > 0 && bytes < lowest) lowest = bytes;  // "max" reads as 0
  };
  each_group(nullptr, [&](const std::string& group) { limit(first_line(group + "/memory.max")); });
  each_group("memory", [&](const std::string& group) {
    limit(first_line(group + "/memory.limit_in_bytes"));
  });
  return lowest;
}

}  // namespace fa
