#include "cuda/runtime/backend.h"

#include <utility>

#include "core/error.h"
#include "cuda/base/image_for.h"
#include "cuda/runtime/cuda_backend.h"
#include "cuda/runtime/device.h"

namespace fa::cuda {

namespace {

/** The names that plan.cpp and backward_plan.cpp give. */
std::vector<std::string> kernels(const cudaDeviceProp& properties) {
  std::vector<std::string> names;
  const auto add_family = [&names](const std::string& family) {
    for (const char* kernel : {".forward", ".forward.featured", ".backward", ".backward.featured"})
      names.push_back(family + kernel);
  };
  add_family("sm80");
  for (const char* kernel : {"sm80.decode", "sm80.decode.featured", "sm80.decode.8bit", "sm80.mla"})
    names.push_back(kernel);
  if (runs_sm90a(properties)) {
    add_family("sm90");
    names.push_back("sm90.forward.float8");
    names.push_back("sm90.mla");
  }
  return names;
}

}  // namespace

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
      info.kernels = kernels(device->properties());
      const bool ptx = image_for(device->properties()) == KernelImage::kPtx;
      info.kernel_image = ptx ? "PTX" : "machine code";
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

std::vector<PoolUse> pools() {
  std::vector<PoolUse> result;
  const Devices* const all = found_devices();  // memory() is no reason to start the driver
  if (all == nullptr) return result;
  for (const auto& device : all->list)
    if (auto use = device->pool()) result.push_back(std::move(*use));
  return result;
}

std::unique_ptr<Backend> open_backend(const std::string& name, Priority priority) {
  const Devices& all = all_devices();
  for (const auto& device : all.list) {
    if (device->name() == name) return std::make_unique<CudaBackend>(*device, priority);
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
