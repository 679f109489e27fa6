#include "binding/decode_graph.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/graph_memory.h"
#include "binding/inputs.h"
#include "binding/replay_rows.h"
#include "binding/tensor_handle.h"
#include "binding/wrapped.h"

namespace fa::binding {

namespace {

constexpr napi_type_tag kGraphTag = {0x51c7e08da94b3f26, 0x9be2640f7d38c1a5};

std::shared_ptr<Storage> locked(const std::weak_ptr<Storage>& weak) {
  auto storage = weak.lock();
  if (!storage) refuse(ErrorCode::kDisposed, "graph", "of live tensors", "one of a disposed one");
  return storage;
}

Graph& any_graph(const Napi::Value& value) {
  return unwrapped<Graph>(value, kGraphTag, "graph", "what newDecodeGraph() gave");
}

void expect_decode_step(const PreparedStep& step, const Graph& graph) {
  const StepTables &tables = step.on_host, &home = graph.home.tables;
  if (step.host->stream() != &graph.stream())
    refuse(ErrorCode::kDevice, "step",
           "on the stream of the graph, " + graph.stream().device() + ",",
           "on " + step.host->stream()->device());
  if (tables.num_pages != home.num_pages || tables.page_size != home.page_size)
    refuse(ErrorCode::kOption, "step", "of the pages of the graph", "one of others");
  const GraphExtents& most = graph.extents;
  const int64_t tokens = most.tokens;
  if (tables.total() != tables.batch() * tokens || step.extents.longest_q != tokens)
    refuse(ErrorCode::kShape, "step", std::to_string(tokens) + " new tokens of each sequence",
           std::to_string(tables.total()) + " of " + std::to_string(tables.batch()));
  const int64_t words = tables.tree_mask.present() ? tables.tree_mask.shape[1] : 0;
  if (words != most.tree_words)
    refuse(ErrorCode::kShape, "step", most.tree_words > 0 ? "a tree" : "no tree",
           words > 0 ? "one" : "none");
  if (tables.batch() > most.batch)
    refuse(ErrorCode::kShape, "step",
           "at most " + std::to_string(most.batch) + " sequences, the batch of the graph,",
           std::to_string(tables.batch()));
  if (tables.page_table.shape[1] > most.pages_per_sequence)
    refuse(ErrorCode::kShape, "step",
           "sequences of at most " + std::to_string(most.pages_per_sequence * home.page_size) +
               " tokens",
           "more");
}

/** The tables of a step, filled up to the batch of a graph. */
std::shared_ptr<const GraphTables> padded(const PreparedStep& step, const Graph& graph) {
  const StepTables& from = step.on_host;
  const GraphExtents& most = graph.extents;
  const int64_t batch = most.batch, tokens = most.tokens, there = from.batch();
  auto padded = std::make_shared<GraphTables>();
  padded->values.assign(static_cast<size_t>(most.tables_length()), 0);
  const StepTables to = tables_over(reinterpret_cast<char*>(padded->values.data()), most);
  const auto copy = [](const View& source, const View& target) {
    std::copy_n(int32_data(source), source.size(), static_cast<int32_t*>(target.data));
  };
  copy(from.slots, to.slots);
  copy(from.positions, to.positions);
  copy(from.cu_seqlens_q, to.cu_seqlens_q);
  copy(from.seqlens_k, to.seqlens_k);
  if (most.tree_words > 0) copy(from.tree_mask, to.tree_mask);
  std::fill(static_cast<int32_t*>(to.slots.data) + there * tokens,
            static_cast<int32_t*>(to.slots.data) + batch * tokens, -1);
  std::fill(static_cast<int32_t*>(to.cu_seqlens_q.data) + there + 1,
            static_cast<int32_t*>(to.cu_seqlens_q.data) + batch + 1,
            static_cast<int32_t>(there * tokens));
  const View& pages = from.page_table;
  for (int64_t b = 0; b < there; ++b)
    std::copy_n(int32_data(pages) + b * pages.shape[1], pages.shape[1],
                static_cast<int32_t*>(to.page_table.data) + b * most.pages_per_sequence);
  auto table = std::make_shared<SequenceTable>();
  for (int64_t b = 0; b < there; ++b)
    table->sequences.push_back(decoded(b, tokens, int32_data(to.seqlens_k)[b]));
  Sequence none = decoded(there, tokens, tokens);
  none.seqlen_q = 0;
  table->sequences.resize(static_cast<size_t>(batch), none);
  padded->sequences = std::move(table);
  return padded;
}

}  // namespace

Napi::Value new_decode_graph(const Napi::CallbackInfo& call) {
  if (!call[0].IsObject()) refuse(ErrorCode::kType, "args", "an object", shown(call[0]));
  return wrapped(call.Env(), make_graph(call.Env(), call[0].As<Napi::Object>()), kGraphTag);
}

Napi::Value replay_decode(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Graph& graph = any_graph(call[0]);
  if (!graph.decode) refuse(ErrorCode::kDisposed, "graph", "a live one", "one that has ended");
  const PreparedStep& step = step_of(call[1]);
  expect_decode_step(step, graph);
  DecodeGraph& decode = *graph.decode;
  const auto layers = static_cast<int64_t>(decode.layers.size());
  const int64_t first = to_integer(call[2], "firstLayer", 0, layers - 1);
  const Napi::Array given = to_array(call[3], "rows");
  const int64_t count = given.Length(), there = step.on_host.total();
  if (count < 1 || count > layers - first)
    refuse(ErrorCode::kShape, "rows", "1 to " + std::to_string(layers - first) + " layers",
           std::to_string(count));

  ops::ReplayDecode op;
  op.graph = graph.decode;
  op.first_layer = first;
  op.layers = count;
  Inputs inputs{graph.stream()};
  for (const auto& storage : graph.reads) inputs.reads.push_back(locked(storage));
  TaskStorages storages;
  storages.updates.push_back(graph.outs);
  if (graph.lses) storages.updates.push_back(graph.lses);
  ReplayRows rows(decode, first, count, there, inputs);
  for (int64_t n = 0; n < count; ++n) {
    const auto layer = static_cast<size_t>(first + n);
    rows.add(n, to_array(given[static_cast<uint32_t>(n)], "rows"));
    for (const auto& storage : graph.pages[layer]) storages.updates.push_back(locked(storage));
    add_page_copies(op.copies, step.on_host, decode.layers[layer].step.append.appending);
  }
  op.rows = std::move(rows.device);
  op.numbers = rows.numbers;

  if (graph.tables_of.lock() != step.host) {
    graph.tables = padded(step, graph);
    graph.tables_of = step.host;
  }
  op.tables = graph.tables;
  // A result that is the caller's from now on, and whose next one replaces it.
  const auto given_again = [&](const std::shared_ptr<Storage>& memory, std::weak_ptr<Storage>& last,
                               View view, int axis) {
    if (auto before = last.lock()) op.replaced.push_back(std::move(before));
    const auto result = std::make_shared<UpdatedStorage>(memory);
    last = result;
    storages.writes.push_back(result);
    view.shape[axis] = there;
    return new_handle(env, {result, view});
  };
  const Napi::Array results = Napi::Array::New(env, static_cast<size_t>(count));
  for (int64_t n = 0; n < count; ++n) {
    const auto at = static_cast<size_t>(first + n);
    const DecodeGraph::Layer& layer = decode.layers[at];
    const Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(uint32_t{0}, given_again(graph.outs, graph.given[at].out, layer.out, 0));
    if (graph.lses)
      pair.Set(uint32_t{1}, given_again(graph.lses, graph.given[at].lse, layer.lse, 1));
    else
      pair.Set(uint32_t{1}, env.Null());
    results.Set(static_cast<uint32_t>(n), pair);
  }
  storages.reads = std::move(inputs.reads);
  graph.stream().enqueue(std::move(op), std::move(storages));
  return results;
}

Napi::Value end_decode_graph(const Napi::CallbackInfo& call) {
  Graph& graph = any_graph(call[0]);
  graph = {};
  return call.Env().Undefined();
}

}  // namespace fa::binding
