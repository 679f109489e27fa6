// What we ask of the operating system. core/system/ has one implementation for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fa {

// ---- What the machine grants this process ----

/**
 * Cores this process may use: those of its affinity mask, limited by the CPU quota of its control
 * groups (rounded up). Threads of one core count once on Linux. At least 1.
 */
int usable_cores();

/** Bytes of memory this process could ever get: RAM, limited by its control groups, and swap. */
uint64_t usable_memory();

/** Bytes of RAM of the machine. */
uint64_t physical_memory();

/** "AMD EPYC 9575F 64-Core Processor"; empty when the system does not say. */
std::string cpu_model();

// ---- Memory ----

/** From this size on memory is worth a mapping of its own: a huge page of Linux. */
constexpr size_t kHugePage = size_t{2} << 20;

size_t page_size();

/**
 * `bytes`, a multiple of the page size, of zeros; on Linux from a huge page's boundary on, and with
 * huge pages where the system has them. Null when it has no memory left.
 */
void* map_pages(size_t bytes);

/** Gives back all that one call of map_pages gave. */
void unmap_pages(void* data, size_t bytes);

/** Asks for huge pages where `data`, which nobody has touched yet, is large enough. A hint. */
void ask_for_huge_pages(void* data, size_t bytes);

// ---- Threads and code ----

/** Calls the calling thread `name` (at most 15 characters) and keeps signals away from it. */
void prepare_thread(const char* name);

/**
 * Keeps this library in memory: Node unloads the addon of a terminated worker, but our threads
 * still run its code.
 */
void stay_loaded();

}  // namespace fa
