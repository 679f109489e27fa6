// What the tensor handles of one environment hold: for memory(), and for the garbage collector,
// which sees nothing of native memory unless it is told.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "binding/napi.h"
#include "core/storage.h"

namespace fa::binding {

class Ledger {
 public:
  /** A new handle holds `storage`. */
  void add(Napi::Env env, const Storage& storage);
  /** A handle that held `storage` was disposed or collected. Does not look into it. */
  void remove(Napi::Env env, const Storage& storage);

  /** Whether no handle but one holds `storage`. */
  bool held_once(const Storage& storage) const { return handles_.at(&storage) == 1; }

  size_t tensors() const { return tensors_; }
  size_t storages() const { return handles_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  std::unordered_map<const Storage*, size_t> handles_;
  size_t tensors_ = 0;
  size_t bytes_ = 0;
};

}  // namespace fa::binding
