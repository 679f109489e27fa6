// The memory and the layers of a graph: see core/decode_graph.h.
#pragma once

#include <memory>
#include <vector>

#include "binding/napi.h"
#include "binding/step.h"
#include "core/decode_graph.h"

namespace fa::binding {

/** Storages that somebody else may dispose, as a replay wants them. */
using Borrowed = std::vector<std::weak_ptr<Storage>>;

/** What JavaScript holds. */
struct Graph {
  std::shared_ptr<DecodeGraph> decode;  // null once ended
  PreparedStep home;                    // its tables, of a whole batch of the longest sequences
  int64_t pages_per_sequence = 0;
  std::shared_ptr<Storage> results;           // of all layers
  std::vector<Borrowed> pages;                // of each layer
  Borrowed reads;                             // of all: tensors of the options
  std::vector<std::weak_ptr<Storage>> given;  // what the last replay of each layer gave
  // Of the step that was replayed last.
  std::shared_ptr<const GraphTables> tables;
  std::weak_ptr<Storage> tables_of;

  Stream& stream() const { return *decode->memory->stream(); }
};

/** int32s of the tables of `batch` sequences. */
int64_t tables_length(int64_t batch, int64_t pages_per_sequence);

/** The tables of a whole batch over the front of `memory`. */
StepTables tables_over(char* memory, int64_t batch, int64_t pages_per_sequence);

/** A sequence of so many keys, whose one query is row `row`. */
Sequence decoded(int64_t row, int64_t seqlen_k);

/** See new_decode_graph. */
std::unique_ptr<Graph> make_graph(Napi::Env env, const Napi::Object& args);

}  // namespace fa::binding
