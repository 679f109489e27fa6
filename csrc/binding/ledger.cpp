#include "binding/ledger.h"

#include <algorithm>

namespace fa::binding {

namespace {

void adjust(Napi::Env env, int64_t bytes) {
  int64_t total = 0;
  napi_adjust_external_memory(env, bytes, &total);  // can only fail by misuse
}

}  // namespace

void Ledger::add(Napi::Env env, const Storage& storage) {
  ++tensors_;
  if (++handles_[memory(storage)] > 1) return;
  bytes_ += storage.bytes();
  adjust(env, static_cast<int64_t>(storage.bytes()));
}

void Ledger::remove(Napi::Env env, const Storage& storage) {
  --tensors_;
  const auto found = handles_.find(memory(storage));
  if (--found->second > 0) return;
  handles_.erase(found);
  bytes_ -= storage.bytes();
  adjust(env, -static_cast<int64_t>(storage.bytes()));
}

bool Ledger::has_piled_up(size_t bytes) {
  constexpr size_t kLeast = size_t{256} << 20;
  if (bytes_ + bytes <= look_at_) {
    if (2 * bytes_ < look_at_) look_at_ = std::max(kLeast, 2 * bytes_);
    return false;
  }
  look_at_ = 2 * bytes_ + bytes;
  return true;
}

}  // namespace fa::binding
