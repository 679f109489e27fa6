#include "simt/devices.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>

namespace simt {

namespace {

struct Preset {
  const char* key;
  const char* name;
  int major, minor;
  int code_version;
  int multiprocessors;
  size_t memory_gib;
  size_t shared_per_multiprocessor_kib;
  int warps_per_multiprocessor, blocks_per_multiprocessor;
  int l2_mib;
  int bus_bits;
};

// CUDA C++ Programming Guide, table "Technical specifications per compute capability", and the
// data sheets of the A100, H100 SXM 80 GB and B200, of the A10 and of the RTX 5090.
constexpr Preset kPresets[] = {
    {"sm80", "SIMT executor as NVIDIA A100", 8, 0, 80, 108, 80, 164, 64, 32, 40, 5120},
    {"sm86", "SIMT executor as NVIDIA A10", 8, 6, 80, 72, 24, 100, 48, 16, 6, 384},
    {"sm90", "SIMT executor as NVIDIA H100", 9, 0, 90, 132, 80, 228, 64, 32, 50, 5120},
    {"sm100", "SIMT executor as NVIDIA B200", 10, 0, 90, 148, 180, 228, 64, 32, 126, 8192},
    {"sm120", "SIMT executor as NVIDIA RTX 5090", 12, 0, 90, 170, 32, 100, 48, 24, 96, 512},
};

cudaDeviceProp properties_of(const Preset& preset) {
  cudaDeviceProp p{};
  std::strncpy(p.name, preset.name, sizeof p.name - 1);
  const char* memory = std::getenv("FLASH_ATTENTION_SIMT_MEMORY");
  p.totalGlobalMem = memory ? std::strtoull(memory, nullptr, 10) : preset.memory_gib << 30;
  p.reservedSharedMemPerBlock = 1024;
  p.sharedMemPerBlock = 48 * 1024;
  p.sharedMemPerMultiprocessor = preset.shared_per_multiprocessor_kib * 1024;
  p.sharedMemPerBlockOptin = p.sharedMemPerMultiprocessor - p.reservedSharedMemPerBlock;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsPerMultiProcessor = preset.warps_per_multiprocessor * p.warpSize;
  p.maxBlocksPerMultiProcessor = preset.blocks_per_multiprocessor;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 0xffff;
  p.major = preset.major;
  p.minor = preset.minor;
  p.multiProcessorCount = preset.multiprocessors;
  p.l2CacheSize = preset.l2_mib << 20;
  p.memoryBusWidth = preset.bus_bits;
  p.memoryPoolsSupported = 1;
  return p;
}

struct Chosen {
  std::vector<cudaDeviceProp> properties;
  std::vector<int> code_versions;
};

const Chosen& chosen() {
  static const Chosen devices = [] {
    const char* list = std::getenv("FLASH_ATTENTION_SIMT_DEVICES");
    std::stringstream keys(list ? list : "sm80");
    Chosen found;
    for (std::string key; std::getline(keys, key, ',');) {
      const size_t slash = key.find('/');
      for (const Preset& preset : kPresets) {
        if (key.substr(0, slash) != preset.key) continue;
        found.properties.push_back(properties_of(preset));
        found.code_versions.push_back(
            slash == std::string::npos ? preset.code_version : std::stoi(key.substr(slash + 1)));
      }
    }
    return found;
  }();
  return devices;
}

std::mutex mutex;
std::vector<int> ended;
// Set once and never freed: cudaGetErrorString hands out its bytes.
const std::string* first_report = nullptr;

}  // namespace

const std::vector<cudaDeviceProp>& device_presets() { return chosen().properties; }

int code_version(int device) { return chosen().code_versions[static_cast<size_t>(device)]; }

void end_device(int device, const std::string& report) {
  const std::lock_guard<std::mutex> lock(mutex);
  ended.push_back(device);
  if (!first_report) first_report = new std::string("unspecified launch failure: " + report);
}

bool device_ended(int device) {
  const std::lock_guard<std::mutex> lock(mutex);
  for (const int each : ended)
    if (each == device) return true;
  return false;
}

const char* end_report() {
  const std::lock_guard<std::mutex> lock(mutex);
  return first_report ? first_report->c_str() : nullptr;
}

}  // namespace simt
