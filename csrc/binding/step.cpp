#include "binding/step.h"

#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/new_tensor.h"
#include "binding/wrapped.h"
#include "core/layout.h"

namespace fa::binding {

namespace {

constexpr napi_type_tag kStepTag = {0x72e4b8916d0fca53, 0x8d15f3ac2b7e6094};
constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

PreparedStep& any_step(const Napi::Value& value) {
  return unwrapped<PreparedStep>(value, kStepTag, "step", "what newStep() gave");
}

/** A copy of an Int32Array of JavaScript. */
View copied(const Napi::Value& value, Stream& stream, std::shared_ptr<Storage>& storage) {
  auto type = static_cast<napi_typedarray_type>(-1);
  size_t length = 0;
  void* data = nullptr;
  const bool array =
      value.IsTypedArray() && napi_get_typedarray_info(value.Env(), value, &type, &length, &data,
                                                       nullptr, nullptr) == napi_ok;
  if (!array || type != napi_int32_array)
    refuse(ErrorCode::kType, "tables", "an Int32Array", shown(value));
  storage = std::make_shared<HostStorage>(&stream, length * sizeof(int32_t));
  if (length > 0) std::memcpy(storage->data(), data, length * sizeof(int32_t));
  return contiguous_view(storage->data(), DType::kInt32, {static_cast<int64_t>(length)});
}

/** Cuts one int32 tensor into those of a step, which lie in it one behind the other. */
class Cutter {
 public:
  explicit Cutter(const View& all) : all_(all) {}

  View take(std::initializer_list<int64_t> shape) {
    View view = contiguous_view(nullptr, DType::kInt32, shape);
    // Each length is below 2^31, and so are those of a row and of the rows before it.
    const int64_t size = view.size();
    if (size > all_.shape[0] - taken_) refuse_length();
    view.data = all_.at(taken_);
    taken_ += size;
    return view;
  }

  void finish() const {
    if (taken_ != all_.shape[0]) refuse_length();
  }

 private:
  [[noreturn]] void refuse_length() const {
    refuse(ErrorCode::kShape, "tables", "as long as the lengths of its parts say",
           shape_text(all_));
  }

  const View& all_;
  int64_t taken_ = 0;
};

struct Lengths {
  int64_t batch, total, pages_per_sequence, tree_words, copies;
};

StepTables cut(const View& all, const Lengths& n) {
  Cutter cutter(all);
  StepTables tables;
  tables.slots = cutter.take({n.total});
  tables.positions = cutter.take({n.total});
  tables.cu_seqlens_q = cutter.take({n.batch + 1});
  tables.seqlens_k = cutter.take({n.batch});
  tables.page_table = cutter.take({n.batch, n.pages_per_sequence});
  if (n.tree_words > 0) tables.tree_mask = cutter.take({n.total, n.tree_words});
  const View copies = cutter.take({n.copies, 3});
  cutter.finish();
  for (int64_t i = 0; i < n.copies; ++i) {
    const auto* const row = static_cast<const int32_t*>(copies.data) + 3 * i;
    tables.copies.push_back({row[0], row[1], row[2]});
  }
  return tables;
}

}  // namespace

Napi::Value new_step(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  if (!call[0].IsObject()) refuse(ErrorCode::kType, "args", "an object", shown(call[0]));
  const Napi::Object args = call[0].As<Napi::Object>();
  const auto length = [&args](const char* name, int64_t least) {
    return to_integer(args.Get(name), name, least, kMost);
  };
  const Lengths lengths{.batch = length("batch", 1),
                        .total = length("total", 1),
                        .pages_per_sequence = length("pagesPerSequence", 1),
                        .tree_words = length("treeWords", 0),
                        .copies = length("copies", 0)};
  const int64_t num_pages = length("numPages", 1), page_size = length("pageSize", 1);
  if (lengths.pages_per_sequence > kMaxSeqlen / page_size)
    refuse(ErrorCode::kShape, "pagesPerSequence",
           "at most " + std::to_string(kMaxSeqlen / page_size),
           std::to_string(lengths.pages_per_sequence));
  Stream& stream = Environment::of(env).stream(to_text(args.Get("device"), "device"));

  auto step = std::make_unique<PreparedStep>();
  const View all = copied(args.Get("tables"), stream, step->host);
  StepTables& tables = step->on_host = cut(all, lengths);
  tables.num_pages = num_pages;
  tables.page_size = page_size;
  step->extents = validate_contents(
      tables, {.shared_prefixes = stream.shares_prefixes(), .sequences = stream.asynchronous()});
  if (!stream.asynchronous()) {
    step->storage = step->host;
    step->tables = tables;
  }
  return wrapped(env, std::move(step), kStepTag);
}

void bring_tables(Napi::Env env, PreparedStep& step) {
  if (step.storage) return;
  const StepTables& on_host = step.on_host;
  const int64_t length = static_cast<int64_t>(step.host->bytes() / sizeof(int32_t));
  Stream& stream = *step.host->stream();
  const TensorRef all =
      NewTensor("the tables", DType::kInt32, Sizes{1, {length}}, "step").allocate(env, stream);
  stream.enqueue(
      ops::Receive{.host = step.host->data(), .dtype = DType::kInt32, .target = all.view},
      {{step.host}, {all.storage}});
  StepTables& tables = step.tables = on_host;
  for (View* view : {&tables.slots, &tables.positions, &tables.cu_seqlens_q, &tables.seqlens_k,
                     &tables.page_table, &tables.tree_mask})
    if (view->present())
      view->data = all.view.at(int32_data(*view) - static_cast<int32_t*>(step.host->data()));
  step.storage = all.storage;
}

Napi::Value end_step(const Napi::CallbackInfo& call) {
  any_step(call[0]) = {};
  return call.Env().Undefined();
}

void add_page_copies(ops::Concat& copies, const StepTables& tables, const Appending& a) {
  for (const auto& [from, to, rows] : tables.copies) {
    for (const View& pages : {a.k_pages, a.v_pages, a.k_scales, a.v_scales}) {
      if (!pages.present() || pages.rank == 1) continue;  // static scales are no page's
      View source = without_leading_axis(pages), target = source;
      source.shape[0] = target.shape[0] = rows;
      source.data = pages.at(from * pages.strides[0]);
      target.data = pages.at(to * pages.strides[0]);
      copies.sources.push_back(source);
      copies.parts.push_back(target);
    }
  }
}

PreparedStep& step_of(const Napi::Value& value) {
  PreparedStep& step = any_step(value);
  if (!step.host) refuse(ErrorCode::kDisposed, "step", "one that is open", "one that has ended");
  return step;
}

}  // namespace fa::binding
