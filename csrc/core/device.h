// A device as users see it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fa {

struct DeviceInfo {
  std::string name;        // "cpu", "cuda:0"
  std::string reason;      // why it cannot be used; empty when it can
  std::string model;       // the processor's own name; may be empty
  uint64_t memory = 0;     // bytes; 0 when unknown
  std::string capability;  // "x86-64-v3", "sm_90"; empty when unknown
  int threads = 0;         // the CPU's
  std::vector<std::string> kernels;
  std::string kernel_image;  // of a GPU that works: "machine code" or "PTX"
};

/** What the memory pool of a GPU has of its memory, in bytes. */
struct PoolUse {
  std::string device;     // "cuda:0"
  uint64_t reserved = 0;  // by this process
  uint64_t used = 0;      // of that by tensors and by calls under way
  uint64_t limit = 0;     // of what may stay reserved and unused
};

}  // namespace fa
