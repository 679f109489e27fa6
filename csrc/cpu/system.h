// What the machine grants this process, and the few things threads need from the system.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

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

/**
 * Starts a thread called `name` (at most 15 characters) that receives no signals: those are the
 * business of the threads of Node. Throws Error{kOutOfMemory} when the system refuses.
 */
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace fa::cpu
