#include "cuda/runtime/backend.h"

#include "core/error.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/stream.h"

namespace fa::cuda {

bool built() { return true; }

std::vector<DeviceInfo> devices() {
  const Devices& all = all_devices();
  std::vector<DeviceInfo> result;
  for (const auto& device : all.list) {
    DeviceInfo info;
    info.name = device->name();
    info.reason = device->unusable();
    info.model = device->properties().name;
    info.memory = device->properties().totalGlobalMem;
    info.capability = device->capability();
    if (info.reason.empty()) {
      info.kernels = {"sm80.forward", "sm80.backward"};
      if (runs_sm90a(device->properties()))
        info.kernels.insert(info.kernels.end(), {"sm90.forward", "sm90.backward"});
    }
    result.push_back(info);
  }
  if (result.empty()) {
    DeviceInfo none;
    none.name = "cuda:0";
    none.reason = all.reason;
    result.push_back(none);
  }
  return result;
}

std::unique_ptr<Stream> open_stream(const std::string& name) {
  const Devices& all = all_devices();
  for (const auto& device : all.list) {
    if (device->name() == name) return std::make_unique<CudaStream>(*device);
  }
  std::string reason = all.reason;
  if (reason.empty()) {
    reason = "there is ";
    for (const auto& device : all.list)
      reason += (device == all.list[0] ? "" : ", ") + device->name();
  }
  throw Error(ErrorCode::kDeviceUnavailable, "device",
              "Device '" + name + "' is not available: " + reason);
}

}  // namespace fa::cuda
