// Storages: alignment, sizes, memory that goes back to the system, failures seen by several
// threads.
#include "cpu/storage.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/system.h"

namespace {

using fa::Error;
using fa::ErrorCode;
using fa::cpu::allocate_storage;

constexpr size_t kMiB = size_t{1} << 20;

uintptr_t address_of(const std::shared_ptr<fa::Storage>& storage) {
  return reinterpret_cast<uintptr_t>(storage->data());
}

/** True when `address` belongs to a mapping of this process. */
bool mapped(uintptr_t address) {
  FILE* maps = std::fopen("/proc/self/maps", "re");
  CHECK(maps != nullptr);
  char line[512];
  bool found = false;
  while (!found && std::fgets(line, sizeof line, maps) != nullptr) {
    char* rest = nullptr;
    const uintptr_t begin = std::strtoull(line, &rest, 16);
    const uintptr_t end = std::strtoull(rest + 1, nullptr, 16);
    found = address >= begin && address < end;
  }
  std::fclose(maps);
  return found;
}

void memory_is_aligned_and_whole() {
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{65}, size_t{4097}, 2 * kMiB - 1,
                       2 * kMiB, 2 * kMiB + 1, 5 * kMiB + 12345}) {
    const auto storage = allocate_storage(nullptr, bytes);
    CHECK(storage->bytes() == bytes);
    CHECK(storage->data() != nullptr);
    CHECK(address_of(storage) % 64 == 0);
    std::memset(storage->data(), 0xab, bytes);
    CHECK(storage->written_by == 0);
    CHECK(!storage->failure());
  }
}

void large_memory_goes_back() {
  for (size_t bytes : {fa::cpu::most_kept_bytes() / 4 + 1, 100 * kMiB + 1}) {
    auto storage = allocate_storage(nullptr, bytes);
    const uintptr_t first = address_of(storage), last = first + bytes - 1;
    CHECK(first % (2 * kMiB) == 0);
    std::memset(storage->data(), 1, bytes);
    CHECK(mapped(first) && mapped(last));
    storage.reset();
    CHECK(!mapped(first) && !mapped(last));
  }
}

void freed_memory_serves_again() {
  auto storage = allocate_storage(nullptr, 3 * kMiB);
  const uintptr_t first = address_of(storage);
  storage.reset();
  CHECK(mapped(first));
  CHECK(address_of(allocate_storage(nullptr, 4 * kMiB)) != first);
  CHECK(address_of(allocate_storage(nullptr, 3 * kMiB)) == first);

  // So it does for sizes that hardly differ.
  CHECK(address_of(allocate_storage(nullptr, 3 * kMiB - 100'000)) == first);

  // Newer blocks push it out.
  std::vector<std::shared_ptr<fa::Storage>> newer;
  for (size_t kept = 0; kept <= fa::cpu::most_kept_bytes(); kept += 8 * kMiB)
    newer.push_back(allocate_storage(nullptr, 8 * kMiB));
  newer.clear();
  CHECK(!mapped(first));
}

void impossible_sizes_are_refused() {
  const uint64_t limit = fa::usable_memory();
  for (uint64_t bytes : {limit + 1, uint64_t{1} << 53, uint64_t{SIZE_MAX}}) {
    std::string message;
    try {
      allocate_storage(nullptr, bytes);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kOutOfMemory);
      message = error.what();
    }
    CHECK(message.find(std::to_string(bytes) + " bytes") != std::string::npos);
  }
}

void failures_are_seen_by_other_threads() {
  const auto storage = allocate_storage(nullptr, 64);
  const auto failure = std::make_shared<const Error>(ErrorCode::kShape, "q", "no");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!storage->failure()) std::this_thread::yield();
      CHECK(storage->failure() == failure);
    });
  }
  threads.emplace_back([&] { storage->fail(failure); });
  for (auto& thread : threads) thread.join();
}

void threads_may_free_what_others_allocated() {
  for (int round = 0; round < 50; ++round) {
    auto storage = allocate_storage(nullptr, round % 2 ? 3 * kMiB : 1000);
    std::memset(storage->data(), round, storage->bytes());
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([storage] { CHECK(storage->data() != nullptr); });
    }
    storage.reset();
    for (auto& thread : threads) thread.join();
  }
}

}  // namespace

int main() {
  memory_is_aligned_and_whole();
#if !defined(__SANITIZE_ADDRESS__)  // its allocator keeps memory
  large_memory_goes_back();
  freed_memory_serves_again();
#endif
  impossible_sizes_are_refused();
  failures_are_seen_by_other_threads();
  threads_may_free_what_others_allocated();
  std::puts("storage: ok");
  return 0;
}
