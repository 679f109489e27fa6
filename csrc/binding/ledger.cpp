#include "binding/ledger.h"

namespace fa::binding {

namespace {

void adjust(Napi::Env env, int64_t bytes) {
  int64_t total = 0;
  napi_adjust_external_memory(env, bytes, &total);  // can only fail by misuse
}

}  // namespace

void Ledger::add(Napi::Env env, const Storage& storage) {
  ++tensors_;
  if (++handles_[&storage] > 1) return;
  bytes_ += storage.bytes();
  adjust(env, static_cast<int64_t>(storage.bytes()));
}

void Ledger::remove(Napi::Env env, const Storage& storage) {
  --tensors_;
  const auto found = handles_.find(&storage);
  if (--found->second > 0) return;
  handles_.erase(found);
  bytes_ -= storage.bytes();
  adjust(env, -static_cast<int64_t>(storage.bytes()));
}

}  // namespace fa::binding
