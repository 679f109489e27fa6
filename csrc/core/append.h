// Keys and values of new tokens on their way into the pages of a cache.
#pragma once

#include "core/rotary.h"
#include "core/view.h"

namespace fa {

/** Token t goes to row slots[t] % pageSize of page slots[t] / pageSize. */
struct Appending {
  // [total, kvHeads, dim], of dtypes of their own. No v: values are a part of their keys (latents).
  View k, v;
  // [pages, pageSize, kvHeads, dim], of one dtype, to which k and v are converted; v_pages like v
  View k_pages, v_pages;
  // Of pages in 8 bits: float32 [pages, pageSize, kvHeads], written beside them; or the caller's,
  // [kvHeads] or [1]. Without, k and v are of the pages' dtype and copied as they are.
  View k_scales, v_scales;
  View slots;     // int32 [total]
  Rotary rotary;  // of k

  int64_t tokens() const { return k.shape[0]; }
  int64_t kv_heads() const { return k.shape[1]; }
  int64_t page_size() const { return k_pages.shape[1]; }
  bool has_values() const { return v.present(); }
  bool quantizes() const { return k_scales.present(); }
  /** Whether scales are the caller's, and only read: see code_of. */
  bool static_scales() const { return k_scales.rank == 1; }
};

/** Calls `function` with the tensors of `appending` whose contents decide what is legal. */
template <typename Function>
void for_each_index(Appending& appending, Function function) {
  function(appending.slots);
  if (appending.rotary.present()) function(appending.rotary.positions);
}

}  // namespace fa
