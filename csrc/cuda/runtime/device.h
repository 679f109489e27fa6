// The CUDA devices of this process. They are shared by all environments, as the driver's state for
// them is.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.h"

namespace fa::cuda {

/** Whether the GPU runs code of sm_90a: Hopper alone, not what came after it. */
inline bool runs_sm90a(const cudaDeviceProp& properties) {
  return properties.major == 9 && properties.minor == 0;
}

class Device {
 public:
  Device(int ordinal, const cudaDeviceProp& properties);

  const std::string& name() const { return name_; }  // "cuda:0"
  int ordinal() const { return ordinal_; }
  const cudaDeviceProp& properties() const { return properties_; }
  std::string capability() const;  // "sm_90"

  /** Why no stream of this device can be opened; empty when one can. */
  std::string unusable() const;

  /** Makes this the device that CUDA calls of the calling thread are about. Throws Error{kCuda}. */
  void make_current() const;

  /**
   * Prepares the device for its first use. Throws Error{kDeviceUnavailable} when it cannot run the
   * kernels of this build, Error{kCuda} when the driver fails.
   */
  void open();

  /** Why the device takes no work any more; null while it does. */
  Failure failure() const;

  /**
   * Looks whether `error`, which a call for the device has met, has ended the device: an error in a
   * kernel leaves it such that every later call fails. Then failure() is that first error, for
   * good. `stream` is any stream of the device.
   */
  void examine(const Error& error, cudaStream_t stream);

 private:
  std::string name_;
  int ordinal_;
  cudaDeviceProp properties_;
  std::string unsupported_;   // why this build cannot run on it; empty when it can
  mutable std::mutex mutex_;  // guards what follows
  bool opened_ = false;
  Failure failure_;
};

/** All devices that the driver shows, or why there are none. Found once per process. */
struct Devices {
  std::vector<std::unique_ptr<Device>> list;
  std::string reason;  // empty when `list` is not
};
const Devices& all_devices();

}  // namespace fa::cuda
