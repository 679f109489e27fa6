#include "binding/graph_memory.h"

#include <algorithm>
#include <string>
#include <utility>

#include "binding/arguments.h"
#include "binding/new_tensor.h"
#include "binding/step_attention.h"
#include "binding/tensor_handle.h"
#include "core/divide.h"

namespace fa::binding {

StepTables tables_over(char* memory, const GraphExtents& extents) {
  auto* next = reinterpret_cast<int32_t*>(memory);
  const auto take = [&next](std::initializer_list<int64_t> shape) {
    const View view = contiguous_view(next, DType::kInt32, shape);
    next += view.size();
    return view;
  };
  StepTables tables;
  tables.slots = take({extents.rows()});
  tables.positions = take({extents.rows()});
  tables.cu_seqlens_q = take({extents.batch + 1});
  tables.seqlens_k = take({extents.batch});
  tables.page_table = take({extents.batch, extents.pages_per_sequence});
  if (extents.tree_words > 0) tables.tree_mask = take({extents.rows(), extents.tree_words});
  return tables;
}

Sequence decoded(int64_t b, int64_t tokens, int64_t seqlen_k) {
  return {.q_batch = 0,
          .q_begin = b * tokens,
          .seqlen_q = tokens,
          .k_batch = b,
          .k_begin = 0,
          .seqlen_k = seqlen_k,
          .first_position = seqlen_k - tokens};
}

namespace {

constexpr int64_t kMostBatch = 1 << 20;

int64_t aligned(int64_t bytes) {
  constexpr int64_t kAlignment = 256;
  return ceil_div(bytes, kAlignment) * kAlignment;
}

StepExtents longest(const GraphExtents& extents, int64_t seqlen) {
  const auto table = std::make_shared<SequenceTable>();
  for (int64_t b = 0; b < extents.batch; ++b)
    table->sequences.push_back(decoded(b, extents.tokens, seqlen));
  return {.longest_q = extents.tokens,
          .last_position = seqlen - 1,
          .sequences = table,
          .shared_prefixes = {}};
}

GraphExtents extents_of(const Napi::Object& args) {
  GraphExtents extents;
  extents.batch = to_integer(args.Get("batch"), "batch", 1, kMostBatch);
  extents.tokens = to_integer(args.Get("tokens"), "tokens", 1, kMostBatch / extents.batch);
  extents.pages_per_sequence =
      to_integer(args.Get("pagesPerSequence"), "pagesPerSequence", 1, kMaxSeqlen);
  constexpr int64_t kBits = 32;  // of a word of a mask
  if (to_boolean(args.Get("tree"), "tree")) extents.tree_words = ceil_div(extents.tokens, kBits);
  return extents;
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
        extents_(extents_of(args)),
        returns_lse_(to_boolean(args.Get("returnLse"), "returnLse")) {
    if (layers_.Length() == 0) refuse(ErrorCode::kOption, "layers", "at least one", "none");
    expect_floating(contiguous_view(nullptr, dtype_, {1}), "dtype");
    const Napi::Array first = layer(0);
    const TensorRef k = tensor_of(first[0u], "kPages"), v = tensor_of(first[1u], "vPages");
    expect_rank(k.view, "kPages", {"numPages", "pageSize", "kvHeads", "headDim"});
    expect_rank(v.view, "vPages", {"numPages", "pageSize", "kvHeads", "headDimV"});
    k_pages_ = k.view;
    v_pages_ = v.view;
    in_keys_ = values_in_keys(k_pages_, v_pages_);
    stream_ = k.storage->stream();
    if (!stream_->asynchronous())
      refuse(ErrorCode::kDevice, "device", "one that captures graphs", stream_->device());
    if (k_pages_.size() == 0 || v_pages_.size() == 0)
      refuse(ErrorCode::kShape, "kPages", "pages with elements", shape_text(k_pages_));
    const int64_t pages = extents_.pages_per_sequence, page_size = k_pages_.shape[1];
    if (pages > kMaxSeqlen / page_size)
      refuse(ErrorCode::kShape, "pagesPerSequence",
             "at most " + std::to_string(kMaxSeqlen / page_size), std::to_string(pages));
    if (extents_.tokens > pages * page_size)
      refuse(ErrorCode::kShape, "tokens", "at most " + std::to_string(pages * page_size),
             std::to_string(extents_.tokens));
  }

  std::unique_ptr<Graph> make() {
    auto graph = std::make_unique<Graph>();
    graph->decode = std::make_shared<DecodeGraph>();
    graph->extents = extents_;
    const int64_t tables = extents_.tables_length() * int64_t{sizeof(int32_t)};
    measure(*graph, aligned(tables));
    add_layers(*graph);
    return graph;
  }

 private:
  Napi::Array layer(uint32_t n) const { return to_array(layers_[n], "layers"); }
  int64_t rows() const { return extents_.rows(); }
  int64_t row_bytes(int64_t heads, int64_t dim) const {
    return aligned(rows() * heads * dim * static_cast<int64_t>(dtype_size(dtype_)));
  }
  int64_t q_bytes() const { return row_bytes(heads_, k_pages_.shape[3]); }
  int64_t k_bytes() const { return row_bytes(k_pages_.shape[2], k_pages_.shape[3]); }
  int64_t v_bytes() const { return in_keys_ ? 0 : row_bytes(v_pages_.shape[2], v_pages_.shape[3]); }
  int64_t layer_bytes() const { return q_bytes() + k_bytes() + v_bytes(); }
  Sizes out_shape() const { return {3, {rows(), heads_, v_pages_.shape[3]}}; }

  TensorRef bytes(const char* name, int64_t count) {
    return NewTensor(name, DType::kInt8, Sizes{1, {count}}, "batch").allocate(env_, *stream_);
  }

  /** The rows of a layer in the memory of a graph, from `at` on. */
  DecodeGraph::Layer rows_at(char* memory, int64_t at) const {
    const auto view = [&](int64_t offset, int64_t heads, int64_t dim) {
      return contiguous_view(memory + at + offset, dtype_, {rows(), heads, dim});
    };
    DecodeGraph::Layer layer{};
    layer.rows_at = at;
    layer.q = view(0, heads_, k_pages_.shape[3]);
    layer.k = view(q_bytes(), k_pages_.shape[2], k_pages_.shape[3]);
    if (!in_keys_) layer.v = view(q_bytes() + k_bytes(), v_pages_.shape[2], v_pages_.shape[3]);
    return layer;
  }

  /** Makes the memory. How long lists are, the device says of a layer that has none yet. */
  void measure(Graph& graph, int64_t tables) {
    const TensorRef model = bytes("a layer of the graph", tables + layer_bytes());
    set_home(graph, model);
    const LayerTask task =
        take_layer(graph, model, rows_at(model.view.at(0), tables), 0,
                   NewTensor("out", dtype_, out_shape(), "batch").allocate(env_, *stream_), {});
    const auto& op = std::get<ops::StepAttention>(*task.operation);
    DecodeGraph& decode = *graph.decode;
    decode.lists_at = tables;
    decode.rows_at =
        tables + aligned(static_cast<int64_t>(stream_->decode_list_bytes(op.attention.problem)));
    decode.end = decode.rows_at + layer_bytes() * layers_.Length();
    const TensorRef memory = bytes("the graph", decode.end);
    decode.memory = memory.storage;
    set_home(graph, memory);
  }

  void set_home(Graph& graph, const TensorRef& memory) {
    graph.home = {};
    graph.home.storage = memory.storage;
    graph.home.tables = tables_over(memory.view.at(0), extents_);
    graph.home.tables.num_pages = k_pages_.shape[0];
    graph.home.tables.page_size = k_pages_.shape[1];
    graph.home.extents = longest(extents_, extents_.pages_per_sequence * k_pages_.shape[1]);
  }

  LayerTask take_layer(Graph& graph, const TensorRef& memory, const DecodeGraph::Layer& rows,
                       uint32_t n, const TensorRef& out, const TensorRef& lse) {
    const auto handle = [&](const View& view) {
      return view.present() ? Napi::Value(new_handle(env_, {memory.storage, view}))
                            : env_.Undefined();
    };
    const Napi::Value q = handle(rows.q), k = handle(rows.k), v = handle(rows.v);
    const Napi::Array pages = layer(n);
    LayerTask task = layer_task(env_, graph.home,
                                {.k_pages = pages[0u],
                                 .v_pages = pages[1u],
                                 .k_scales = pages[2u],
                                 .v_scales = pages[3u],
                                 .q = q,
                                 .k = k,
                                 .v = v,
                                 .options = options_,
                                 .positions = env_.Undefined()},
                                out, lse);
    for (const Napi::Value& used : {q, k, v})
      if (!used.IsUndefined()) dispose_handle(used, "q");  // or they hold memory
    if (std::get<ops::StepAttention>(*task.operation).append.appending.page_size() !=
        k_pages_.shape[1])
      refuse(ErrorCode::kShape, "kPages", "pages of one size in all layers", "others");
    return task;
  }

  /** Memory for the same result of all layers. */
  View results(const char* name, DType dtype, Sizes shape, std::shared_ptr<Storage>& storage) {
    shape.values[0] *= layers_.Length();
    const TensorRef all = NewTensor(name, dtype, shape, "batch").allocate(env_, *stream_);
    storage = all.storage;
    return all.view;
  }

  void add_layers(Graph& graph) {
    DecodeGraph& decode = *graph.decode;
    const View outs = results("results of the graph", dtype_, out_shape(), graph.outs);
    View lses;
    if (returns_lse_)
      lses = results("lses of the graph", DType::kFloat32, {2, {heads_, rows()}}, graph.lses);
    const TensorRef memory{decode.memory, {}};
    for (uint32_t n = 0; n < layers_.Length(); ++n) {
      char* const base = static_cast<char*>(decode.memory->data());
      DecodeGraph::Layer layer = rows_at(base, decode.rows_at + n * layer_bytes());
      layer.out = contiguous_view(outs.at(n * rows() * heads_ * v_pages_.shape[3]), dtype_,
                                  {rows(), heads_, v_pages_.shape[3]});
      if (returns_lse_)
        layer.lse =
            contiguous_view(lses.at(n * heads_ * rows()), DType::kFloat32, {heads_, rows()});
      LayerTask task =
          take_layer(graph, memory, layer, n, {graph.outs, layer.out}, {graph.lses, layer.lse});
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
    decode.held = {graph.outs, graph.home.queries, graph.home.results};
    if (returns_lse_) decode.held.push_back(graph.lses);
    graph.given.resize(layers_.Length());
  }

  Napi::Env env_;
  const Napi::Value options_;
  const Napi::Array layers_;
  const DType dtype_;
  const int64_t heads_;
  const GraphExtents extents_;
  const bool returns_lse_;
  View k_pages_, v_pages_;  // of the first layer
  bool in_keys_ = false;    // whether rows have no v
  Stream* stream_ = nullptr;
};

}  // namespace

std::unique_ptr<Graph> make_graph(Napi::Env env, const Napi::Object& args) {
  return Maker(env, args).make();
}

}  // namespace fa::binding
