#include "binding/decode_graph.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/inputs.h"
#include "binding/new_tensor.h"
#include "binding/replay_rows.h"
#include "binding/step.h"
#include "binding/step_attention.h"
#include "binding/tensor_handle.h"
#include "binding/wrapped.h"
#include "core/decode_graph.h"
#include "core/divide.h"

namespace fa::binding {

namespace {

constexpr napi_type_tag kGraphTag = {0x51c7e08da94b3f26, 0x9be2640f7d38c1a5};
constexpr int64_t kMostBatch = 1 << 20;

/** Storages that somebody else may dispose, as a replay wants them. */
using Borrowed = std::vector<std::weak_ptr<Storage>>;

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

std::shared_ptr<Storage> locked(const std::weak_ptr<Storage>& weak) {
  auto storage = weak.lock();
  if (!storage) refuse(ErrorCode::kDisposed, "graph", "of live tensors", "one of a disposed one");
  return storage;
}

// ── What a graph is made of ──────────────────────────────────────────────────────────────────────

int64_t aligned(int64_t bytes) {
  constexpr int64_t kAlignment = 256;
  return ceil_div(bytes, kAlignment) * kAlignment;
}

int64_t tables_length(int64_t batch, int64_t pages_per_sequence) {
  return 3 * batch + batch + 1 + batch * pages_per_sequence;
}

/** The tables of a whole batch over the front of `memory`. */
StepTables tables_over(char* memory, int64_t batch, int64_t pages_per_sequence) {
  auto* next = reinterpret_cast<int32_t*>(memory);
  const auto take = [&next](std::initializer_list<int64_t> shape) {
    const View view = contiguous_view(next, DType::kInt32, shape);
    next += view.size();
    return view;
  };
  StepTables tables;
  tables.slots = take({batch});
  tables.positions = take({batch});
  tables.cu_seqlens_q = take({batch + 1});
  tables.seqlens_k = take({batch});
  tables.page_table = take({batch, pages_per_sequence});
  return tables;
}

Sequence decoded(int64_t row, int64_t seqlen_k) {
  return {.q_batch = 0,
          .q_begin = row,
          .seqlen_q = 1,
          .k_batch = row,
          .k_begin = 0,
          .seqlen_k = seqlen_k,
          .first_position = seqlen_k - 1};
}

StepExtents longest(int64_t batch, int64_t seqlen) {
  const auto table = std::make_shared<SequenceTable>();
  for (int64_t b = 0; b < batch; ++b) table->sequences.push_back(decoded(b, seqlen));
  return {.longest_q = 1, .last_position = seqlen - 1, .sequences = table, .shared_prefixes = {}};
}

/** A graph as it is put together: first its sizes, then its memory, then its layers. */
class Maker {
 public:
  Maker(Napi::Env env, const Napi::Object& args)
      : env_(env),
        options_(args.Get("options")),
        layers_(to_array(args.Get("layers"), "layers")),
        dtype_(to_dtype(args.Get("dtype"), "dtype")),
        heads_(to_integer(args.Get("heads"), "heads", 1, kMostBatch)),
        batch_(to_integer(args.Get("batch"), "batch", 1, kMostBatch)),
        pages_(to_integer(args.Get("pagesPerSequence"), "pagesPerSequence", 1, kMaxSeqlen)) {
    if (layers_.Length() == 0) refuse(ErrorCode::kOption, "layers", "at least one", "none");
    expect_floating(contiguous_view(nullptr, dtype_, {1}), "dtype");
    const Napi::Array first = layer(0);
    const TensorRef k = tensor_of(first[0u], "kPages"), v = tensor_of(first[1u], "vPages");
    expect_rank(k.view, "kPages", {"numPages", "pageSize", "kvHeads", "headDim"});
    expect_rank(v.view, "vPages", {"numPages", "pageSize", "kvHeads", "headDimV"});
    k_pages_ = k.view;
    v_pages_ = v.view;
    stream_ = k.storage->stream();
    if (!stream_->asynchronous())
      refuse(ErrorCode::kDevice, "device", "one that captures graphs", stream_->device());
    if (k_pages_.size() == 0 || v_pages_.size() == 0)
      refuse(ErrorCode::kShape, "kPages", "pages with elements", shape_text(k_pages_));
    if (pages_ > kMaxSeqlen / k_pages_.shape[1])
      refuse(ErrorCode::kShape, "pagesPerSequence",
             "at most " + std::to_string(kMaxSeqlen / k_pages_.shape[1]), std::to_string(pages_));
  }

  std::unique_ptr<Graph> make() {
    auto graph = std::make_unique<Graph>();
    graph->decode = std::make_shared<DecodeGraph>();
    graph->decode->batch = batch_;
    graph->pages_per_sequence = pages_;
    const int64_t tables = tables_length(batch_, pages_) * int64_t{sizeof(int32_t)};
    measure(*graph, aligned(tables));
    add_layers(*graph);
    return graph;
  }

 private:
  Napi::Array layer(uint32_t n) const { return to_array(layers_[n], "layers"); }
  int64_t row_bytes(int64_t heads, int64_t dim) const {
    return aligned(batch_ * heads * dim * static_cast<int64_t>(dtype_size(dtype_)));
  }
  int64_t q_bytes() const { return row_bytes(heads_, k_pages_.shape[3]); }
  int64_t k_bytes() const { return row_bytes(k_pages_.shape[2], k_pages_.shape[3]); }
  int64_t v_bytes() const { return row_bytes(v_pages_.shape[2], v_pages_.shape[3]); }
  Sizes out_shape() const { return {3, {batch_, heads_, v_pages_.shape[3]}}; }

  TensorRef bytes(const char* name, int64_t count) {
    return NewTensor(name, DType::kInt8, Sizes{1, {count}}, "batch").allocate(env_, *stream_);
  }

  /** The rows of a layer in the memory of a graph, from `at` on. */
  DecodeGraph::Layer rows_at(char* memory, int64_t at) const {
    const auto view = [&](int64_t offset, int64_t heads, int64_t dim) {
      return contiguous_view(memory + at + offset, dtype_, {batch_, heads, dim});
    };
    DecodeGraph::Layer layer{};
    layer.rows_at = at;
    layer.q = view(0, heads_, k_pages_.shape[3]);
    layer.k = view(q_bytes(), k_pages_.shape[2], k_pages_.shape[3]);
    layer.v = view(q_bytes() + k_bytes(), v_pages_.shape[2], v_pages_.shape[3]);
    return layer;
  }

  /** Makes the memory. How long lists are, the device says of a layer that has none yet. */
  void measure(Graph& graph, int64_t tables) {
    const int64_t rows = q_bytes() + k_bytes() + v_bytes();
    const TensorRef model = bytes("a layer of the graph", tables + rows);
    set_home(graph, model);
    const LayerTask task = take_layer(graph, model, rows_at(model.view.at(0), tables), 0,
                                      NewTensor("out", dtype_, out_shape(), "batch")
                                          .allocate(env_, *stream_));
    const auto& op = std::get<ops::StepAttention>(*task.operation);
    DecodeGraph& decode = *graph.decode;
    decode.lists_at = tables;
    decode.rows_at =
        tables +
        aligned(static_cast<int64_t>(stream_->decode_list_bytes(op.attention.problem)));
    decode.end = decode.rows_at + rows * layers_.Length();
    const TensorRef memory = bytes("the graph", decode.end);
    decode.memory = memory.storage;
    set_home(graph, memory);
  }

  void set_home(Graph& graph, const TensorRef& memory) {
    graph.home = {};
    graph.home.storage = memory.storage;
    graph.home.tables = tables_over(memory.view.at(0), batch_, pages_);
    graph.home.tables.num_pages = k_pages_.shape[0];
    graph.home.tables.page_size = k_pages_.shape[1];
    graph.home.extents = longest(batch_, pages_ * k_pages_.shape[1]);
  }

  LayerTask take_layer(Graph& graph, const TensorRef& memory, const DecodeGraph::Layer& rows,
                       uint32_t n, const TensorRef& out) {
    const auto handle = [&](const View& view) { return new_handle(env_, {memory.storage, view}); };
    const Napi::Array pages = layer(n);
    LayerTask task = layer_task(env_, graph.home,
                                {.k_pages = pages[0u],
                                 .v_pages = pages[1u],
                                 .k_scales = pages[2u],
                                 .v_scales = pages[3u],
                                 .q = handle(rows.q),
                                 .k = handle(rows.k),
                                 .v = handle(rows.v),
                                 .options = options_,
                                 .positions = env_.Undefined()},
                                out);
    if (std::get<ops::StepAttention>(*task.operation).append.appending.page_size() !=
        k_pages_.shape[1])
      refuse(ErrorCode::kShape, "kPages", "pages of one size in all layers", "others");
    return task;
  }

  void add_layers(Graph& graph) {
    DecodeGraph& decode = *graph.decode;
    Sizes all = out_shape();
    all.values[0] *= layers_.Length();
    const TensorRef results =
        NewTensor("results of the graph", dtype_, all, "batch").allocate(env_, *stream_);
    graph.results = results.storage;
    const TensorRef memory{decode.memory, {}};
    const int64_t rows = q_bytes() + k_bytes() + v_bytes();
    for (uint32_t n = 0; n < layers_.Length(); ++n) {
      char* const base = static_cast<char*>(decode.memory->data());
      DecodeGraph::Layer layer = rows_at(base, decode.rows_at + n * rows);
      layer.out = contiguous_view(results.view.at(n * batch_ * heads_ * v_pages_.shape[3]), dtype_,
                                  {batch_, heads_, v_pages_.shape[3]});
      LayerTask task = take_layer(graph, memory, layer, n, {graph.results, layer.out});
      layer.step = std::get<ops::StepAttention>(std::move(*task.operation));
      Borrowed pages;
      for (const auto& storage : task.storages.updates) pages.emplace_back(storage);
      for (const auto& storage : task.storages.reads) {
        const bool own = storage == decode.memory || storage == graph.home.queries ||
                         storage == graph.home.results;
        const bool page = std::any_of(task.storages.updates.begin(), task.storages.updates.end(),
                                      [&](const auto& each) { return each == memory_of(storage); });
        if (!own && !page && n == 0) graph.reads.emplace_back(storage);
      }
      graph.pages.push_back(std::move(pages));
      decode.layers.push_back(std::move(layer));
    }
    decode.held = {graph.results, graph.home.queries, graph.home.results};
    graph.given.resize(layers_.Length());
  }

  Napi::Env env_;
  const Napi::Value options_;
  const Napi::Array layers_;
  const DType dtype_;
  const int64_t heads_, batch_, pages_;
  View k_pages_, v_pages_;  // of the first layer
  Stream* stream_ = nullptr;
};

// ── A replay ─────────────────────────────────────────────────────────────────────────────────────

Graph& any_graph(const Napi::Value& value) {
  return unwrapped<Graph>(value, kGraphTag, "graph", "what newDecodeGraph() gave");
}

void expect_decode_step(const PreparedStep& step, const Graph& graph) {
  const StepTables &tables = step.on_host, &home = graph.home.tables;
  if (step.host->stream() != &graph.stream())
    refuse(ErrorCode::kDevice, "step", "on the stream of the graph, " + graph.stream().device() + ",",
           "on " + step.host->stream()->device());
  if (tables.num_pages != home.num_pages || tables.page_size != home.page_size)
    refuse(ErrorCode::kOption, "step", "of the pages of the graph", "one of others");
  if (tables.total() != tables.batch() || step.extents.longest_q > 1 || tables.tree_mask.present())
    refuse(ErrorCode::kShape, "step", "one token of each sequence",
           std::to_string(tables.total()) + " of " + std::to_string(tables.batch()));
  if (tables.batch() > graph.decode->batch)
    refuse(ErrorCode::kShape, "step",
           "at most " + std::to_string(graph.decode->batch) + " sequences, the batch of the graph,",
           std::to_string(tables.batch()));
  if (tables.page_table.shape[1] > graph.pages_per_sequence)
    refuse(ErrorCode::kShape, "step",
           "sequences of at most " + std::to_string(graph.pages_per_sequence * home.page_size) +
               " tokens",
           "more");
}

/** The tables of a step, filled up to the batch of a graph. */
std::shared_ptr<const GraphTables> padded(const PreparedStep& step, const Graph& graph) {
  const StepTables& from = step.on_host;
  const int64_t batch = graph.decode->batch, there = from.batch();
  auto padded = std::make_shared<GraphTables>();
  padded->values.assign(
      static_cast<size_t>(tables_length(batch, graph.pages_per_sequence)), 0);
  const StepTables to = tables_over(reinterpret_cast<char*>(padded->values.data()), batch,
                                    graph.pages_per_sequence);
  const auto copy = [](const View& source, const View& target) {
    std::copy_n(int32_data(source), source.size(), static_cast<int32_t*>(target.data));
  };
  copy(from.slots, to.slots);
  copy(from.positions, to.positions);
  copy(from.cu_seqlens_q, to.cu_seqlens_q);
  copy(from.seqlens_k, to.seqlens_k);
  std::fill(static_cast<int32_t*>(to.slots.data) + there,
            static_cast<int32_t*>(to.slots.data) + batch, -1);
  std::fill(static_cast<int32_t*>(to.cu_seqlens_q.data) + there + 1,
            static_cast<int32_t*>(to.cu_seqlens_q.data) + batch + 1, static_cast<int32_t>(there));
  const View& pages = from.page_table;
  for (int64_t b = 0; b < there; ++b)
    std::copy_n(int32_data(pages) + b * pages.shape[1], pages.shape[1],
                static_cast<int32_t*>(to.page_table.data) + b * graph.pages_per_sequence);
  auto table = std::make_shared<SequenceTable>();
  for (int64_t b = 0; b < there; ++b)
    table->sequences.push_back(decoded(b, int32_data(to.seqlens_k)[b]));
  Sequence none = decoded(there, 1);
  none.seqlen_q = 0;
  table->sequences.resize(static_cast<size_t>(batch), none);
  padded->sequences = std::move(table);
  return padded;
}

}  // namespace

Napi::Value new_decode_graph(const Napi::CallbackInfo& call) {
  if (!call[0].IsObject()) refuse(ErrorCode::kType, "args", "an object", shown(call[0]));
  return wrapped(call.Env(), Maker(call.Env(), call[0].As<Napi::Object>()).make(), kGraphTag);
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
  const int64_t count = given.Length(), there = step.on_host.batch();
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
  storages.updates.push_back(graph.results);
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
  const Napi::Array results = Napi::Array::New(env, static_cast<size_t>(count));
  for (int64_t n = 0; n < count; ++n) {
    const auto layer = static_cast<size_t>(first + n);
    if (auto before = graph.given[layer].lock()) op.replaced.push_back(std::move(before));
    const auto result = std::make_shared<UpdatedStorage>(graph.results);
    graph.given[layer] = result;
    storages.writes.push_back(result);
    View out = decode.layers[layer].out;
    out.shape[0] = there;
    results.Set(static_cast<uint32_t>(n), new_handle(env, {result, out}));
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
