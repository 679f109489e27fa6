// What the tensor handles of one environment hold: for memory(), and for the garbage collector,
// which sees nothing of native memory unless it is told.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "binding/napi.h"
#include "core/storage.h"

namespace fa::binding {

class Handle;

class Ledger {
 public:
  /** A new handle holds `storage`. */
  void add(Napi::Env env, const Storage& storage);
  /** A handle that held `storage` was disposed or collected. */
  void remove(Napi::Env env, const Storage& storage);

  /** Whether no handle but one holds the memory of `storage`. */
  bool held_once(const Storage& storage) const { return handles_.at(memory(storage)) == 1; }

  /** Handles that are not disposed: see tensor_handle.cpp. */
  Handle* first_handle = nullptr;

  /**
   * Whether to look for handles that were collected, before `bytes` more: when twice as much is
   * held as after the last look.
   */
  bool has_piled_up(size_t bytes);

  size_t tensors() const { return tensors_; }
  size_t storages() const { return handles_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  /** States of one memory are counted as that memory. */
  static const Storage* memory(const Storage& storage) {
    const std::shared_ptr<Storage> memory = storage.memory();
    return memory ? memory.get() : &storage;
  }

  std::unordered_map<const Storage*, size_t> handles_;
  size_t tensors_ = 0;
  size_t bytes_ = 0;
  size_t look_at_ = size_t{256} << 20;  // bytes
};

}  // namespace fa::binding
