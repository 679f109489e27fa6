// Which bytes of global memory some work has touched.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace simt {

class Footprint {
 public:
  void add(const void* pointer, size_t bytes);
  /** Whether any of these bytes has been added. */
  bool meets(const void* pointer, size_t bytes) const;
  void remove(const void* pointer, size_t bytes);
  void clear();

 private:
  static constexpr uintptr_t kPageBytes = uintptr_t{1} << 16;
  using Page = std::array<uint64_t, kPageBytes / 64>;  // a bit for each byte

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_ = ~uintptr_t{0};  // that was added to
  Page* last_page_ = nullptr;
};

struct Touched {
  Footprint read, written;

  void clear() {
    read.clear();
    written.clear();
  }
};

}  // namespace simt
