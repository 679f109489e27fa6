// Limits that the control groups of this process set (cgroups(7)), versions 1 and 2.
#pragma once

#include <cstdint>

namespace fa {

/** CPUs' worth of time per second; 0 when unlimited. */
double cgroup_cpu_quota();

/** Bytes; UINT64_MAX when unlimited. */
uint64_t cgroup_memory_limit();

}  // namespace fa
