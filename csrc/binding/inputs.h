// Tensors of one call, in the order of a stream.
#pragma once

#include <memory>
#include <vector>

#include "binding/host_index.h"
#include "binding/napi.h"
#include "core/rotary.h"
#include "core/stream.h"
#include "core/validate.h"

namespace fa::binding {

/** Tensors of one call, and what holds those whose contents decide what is legal. */
struct Inputs {
  Stream& stream;
  std::vector<std::shared_ptr<Storage>> reads = {};
  std::vector<std::shared_ptr<Storage>> indices = {};  // in the order of for_each_index

  View tensor(const Napi::Value& value, const char* argument);
  View index(const Napi::Value& value, const char* argument);
  /** { cos, sin, interleaved, rotaryOffset } */
  Rotary tables(const Napi::Value& value);
  /** The same with positions; nothing of undefined. */
  Rotary rotary(const Napi::Value& value);

  /** Judges the contents of the index tensors if the host has them; else the task has to. */
  template <typename Problem>
  bool judge(const Problem& problem) const {
    for (const auto& storage : indices) {
      if (!host_readable(*storage)) return false;
    }
    Problem on_host = problem;
    auto storage = indices.begin();
    for_each_index(on_host, [&](View& view) { view = host_view(view, **storage++); });
    validate_contents(on_host);
    return true;
  }
};

}  // namespace fa::binding
