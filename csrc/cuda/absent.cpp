// What a build without CUDA has in place of the backend.
#include "core/error.h"
#include "cuda/runtime/backend.h"

namespace fa::cuda {

namespace {

constexpr const char* kReason =
    "this build has no CUDA backend. With the CUDA toolkit (nvcc) installed, "
    "FLASH_ATTENTION_CUDA=on npx flash-attention build makes one that has";

}  // namespace

bool built() { return false; }

std::vector<DeviceInfo> devices() {
  DeviceInfo none;
  none.name = "cuda:0";
  none.reason = kReason;
  return {none};
}

std::vector<PoolUse> pools() { return {}; }

std::unique_ptr<Backend> open_backend(const std::string& device, Priority) {
  throw Error(ErrorCode::kDeviceUnavailable, "device",
              "Device '" + device + "' is not available: " + kReason);
}

}  // namespace fa::cuda
