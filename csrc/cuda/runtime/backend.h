// The CUDA backend as the binding sees it. A build without CUDA has cuda/absent.cpp in its place.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/device.h"
#include "core/priority.h"

namespace fa::cuda {

/** Whether this build has the backend. */
bool built();

/** All CUDA devices; when there are none, one that is not available and says why. Never throws. */
std::vector<DeviceInfo> devices();

/** What the memory pools of the devices have that were opened and work. */
std::vector<PoolUse> pools();

/**
 * Opens the device with that name. Throws Error{kDeviceUnavailable}, which says why there is none,
 * or Error{kCuda}.
 */
std::unique_ptr<Backend> open_backend(const std::string& device, Priority priority);

}  // namespace fa::cuda
