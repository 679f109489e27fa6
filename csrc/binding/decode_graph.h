// Decode steps of a cache at fixed addresses: see core/decode_graph.h.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/**
 * newDecodeGraph({ layers, options, heads, dtype, batch, pagesPerSequence }): `layers` are arrays
 * [kPages, vPages, kScales, vScales].
 */
Napi::Value new_decode_graph(const Napi::CallbackInfo& call);

/**
 * replayDecode(graph, step, firstLayer, rows): `rows` are arrays [q, k, v]. Gives out of each
 * layer, which the next replay of that layer writes over.
 */
Napi::Value replay_decode(const Napi::CallbackInfo& call);

/** endDecodeGraph(graph): gives back what it holds. Idempotent. */
Napi::Value end_decode_graph(const Napi::CallbackInfo& call);

}  // namespace fa::binding
