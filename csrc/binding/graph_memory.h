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

/** The most that a step of a graph has. */
struct GraphExtents {
  int64_t batch = 0;
  int64_t tokens = 1;      // new ones of each sequence: all steps have as many
  int64_t tree_words = 0;  // of a row of tree masks; 0: steps without trees
  int64_t pages_per_sequence = 0;

  int64_t rows() const { return batch * tokens; }
  /** int32s of its tables. */
  int64_t tables_length() const {
    return rows() * (2 + tree_words) + 2 * batch + 1 + batch * pages_per_sequence;
  }
};

/** Results of a layer that JavaScript has. */
struct LayerResults {
  std::weak_ptr<Storage> out, lse;
};

/** What JavaScript holds. */
struct Graph {
  std::shared_ptr<DecodeGraph> decode;  // null once ended
  PreparedStep home;                    // its tables, of a whole batch of the longest sequences
  GraphExtents extents;
  std::shared_ptr<Storage> outs, lses;  // of all layers; no lses where nobody asks for them
  std::vector<Borrowed> pages;          // of each layer
  Borrowed reads;                       // of all: tensors of the options
  std::vector<LayerResults> given;      // what the last replay of each layer gave
  // Of the step that was replayed last.
  std::shared_ptr<const GraphTables> tables;
  std::weak_ptr<Storage> tables_of;

  Stream& stream() const { return *decode->memory->stream(); }
};

/** The tables of a whole batch over the front of `memory`. */
StepTables tables_over(char* memory, const GraphExtents& extents);

/** Sequence `b` of a step, of so many keys; its queries are those of the last ones. */
Sequence decoded(int64_t b, int64_t tokens, int64_t seqlen_k);

/** See new_decode_graph. */
std::unique_ptr<Graph> make_graph(Napi::Env env, const Napi::Object& args);

}  // namespace fa::binding
