#include "simt/memory_pool.h"

#include <algorithm>
#include <map>
#include <mutex>

namespace simt {

namespace {

struct Pool {
  uint64_t reserved = 0, used = 0, threshold = 0;
};

struct Piece {
  int device;
  size_t bytes;
};

std::mutex mutex;
std::map<int, Pool> pools;
std::map<const void*, Piece> pieces;

}  // namespace

void pool_took(int device, const void* memory, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  pieces[memory] = {device, bytes};
  Pool& pool = pools[device];
  pool.used += bytes;
  pool.reserved = std::max(pool.reserved, pool.used);
}

void pool_gave_back(const void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = pieces.find(memory);
  if (found == pieces.end()) return;
  pools[found->second.device].used -= found->second.bytes;
  pieces.erase(found);
}

void pool_synchronized(int device) {
  const std::lock_guard<std::mutex> lock(mutex);
  Pool& pool = pools[device];
  pool.reserved = std::min(pool.reserved, std::max(pool.used, pool.threshold));
}

void set_release_threshold(int device, uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  pools[device].threshold = bytes;
}

uint64_t release_threshold(int device) {
  const std::lock_guard<std::mutex> lock(mutex);
  return pools[device].threshold;
}

PoolUse pool_use(int device) {
  const std::lock_guard<std::mutex> lock(mutex);
  const Pool& pool = pools[device];
  return {pool.reserved, pool.used};
}

}  // namespace simt
