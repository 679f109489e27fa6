// The memory of an ArrayBuffer as tasks write to it.
#pragma once

#include "core/storage.h"

namespace fa::binding {

/**
 * The memory of an ArrayBuffer, as the target of a task. Threads of ours may write to it because no
 * JavaScript has seen the buffer yet, so nothing can detach or resize it; whoever made it holds it
 * until the task has run.
 */
class BufferStorage final : public Storage {
 public:
  BufferStorage(Stream* stream, void* data, size_t bytes) : Storage(stream, bytes), data_(data) {}
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  void* data_;
};

}  // namespace fa::binding
