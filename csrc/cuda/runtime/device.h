// The CUDA devices of this process. They are shared by all environments, as the driver's state for
// them is.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "cuda/runtime/pool_limit.h"

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

  /** Tensors of the device hold so many bytes more, or fewer. */
  void hold(int64_t bytes) noexcept;
  /**
   * What its memory pool has; none before open(), of a device that has no pools, and of one that
   * has stopped.
   */
  std::optional<PoolUse> pool() const;

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
  std::optional<PoolLimit> pool_;  // once it is opened, where the device has memory pools
};

/**
 * Makes a device the one that calls of this thread are about, until the end of the scope. What
 * belongs to a device is freed so: the thread may be any, JavaScript's too, where another device is
 * current. Without it CUDA would make a context on that one. The device before is current again at
 * the end, if it has a context.
 */
class CurrentDevice {
 public:
  explicit CurrentDevice(const Device& device) noexcept;
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_;  // -1: the same
};

/** All devices that the driver shows, or why there are none. Found once per process. */
struct Devices {
  std::vector<std::unique_ptr<Device>> list;
  std::string reason;  // empty when `list` is not
};
const Devices& all_devices();
/** Those, once they have been looked for; null before. */
const Devices* found_devices();

}  // namespace fa::cuda
