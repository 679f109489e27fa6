// What the machine grants this process.
#pragma once

#include <cstdint>
#include <string>

namespace fa::cpu {

/**
 * Cores this process may use: its affinity mask, limited by the CPU quota of its control groups
 * (rounded up). At least 1.
 */
int usable_cores();

/** Bytes of memory this process could ever get: RAM, limited by its control groups, and swap. */
uint64_t usable_memory();

/** Bytes of RAM of the machine. */
uint64_t physical_memory();

/** "AMD EPYC 9575F 64-Core Processor"; empty when the system does not say. */
std::string cpu_model();

}  // namespace fa::cpu
