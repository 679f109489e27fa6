// A CUDA stream and the memory in its order. Storages hold it, for they may be freed after the
// environment whose stream made them is gone.
#pragma once

#include <memory>

#include "core/priority.h"
#include "core/storage.h"
#include "cuda/base/memory.h"
#include "cuda/runtime/branches.h"
#include "cuda/runtime/device.h"

namespace fa::cuda {

class Lane {
 public:
  /** Throws Error{kCuda}. */
  Lane(Device& device, Priority priority);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  Device& device() const { return device_; }
  const Queue& queue() const { return queue_; }

 private:
  Lane(Device& device, int priority);

  Device& device_;
  std::unique_ptr<Branches> branches_;
  Queue queue_;
};

/** Memory of a device. Any thread may make it and free it. */
class DeviceStorage final : public Storage {
 public:
  /** Throws Error{kOutOfMemory}. */
  DeviceStorage(Stream* stream, std::shared_ptr<Lane> lane, size_t bytes);
  ~DeviceStorage() override;

  void* data() const override { return data_; }
  const void* host_data() const override { return host_ ? host_->data() : nullptr; }

  /** Remembers what it is filled with, before anything else can know of it. */
  void keep(std::shared_ptr<const HostStorage> host) { host_ = std::move(host); }

 private:
  std::shared_ptr<Lane> lane_;
  void* data_;
  std::shared_ptr<const HostStorage> host_;
};

}  // namespace fa::cuda
