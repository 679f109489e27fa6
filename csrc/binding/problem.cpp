#include "binding/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/host_index.h"
#include "binding/tensor_handle.h"
#include "core/divide.h"

namespace fa::binding {

namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

/** Reads `args` into a call. */
class Reader {
 public:
  Reader(const Napi::Object& args, AttentionCall& call)
      : args_(args), call_(call), problem_(call.problem), none_(args.Env().Undefined()) {}

  void read() {
    const Layout batched = to_layout(get("layout"));
    call_.return_lse = to_boolean(get("returnLse"), "returnLse");
    if (const auto value = get("plain"); !value.IsUndefined()) plain_ = to_boolean(value, "plain");
    index("cuSeqlensQ", [](AttentionProblem& p) -> View& { return p.cu_seqlens_q; });
    index("cuSeqlensK", [](AttentionProblem& p) -> View& { return p.cu_seqlens_k; });
    index("pageTable", [](AttentionProblem& p) -> View& { return p.page_table; });
    index("seqlensK", [](AttentionProblem& p) -> View& { return p.seqlens_k; });
    index("firstPositions", [](AttentionProblem& p) -> View& { return p.first_positions; });
    index("positions", [](AttentionProblem& p) -> View& { return p.positions; });
    problem_.tree_mask = tensor("treeMask");
    const bool packed_queries = problem_.packed_queries();
    const bool packed_keys = problem_.cu_seqlens_k.present();
    call_.layout = packed_queries ? Layout::kPacked : batched;
    call_.key_layout = packed_keys ? Layout::kPacked : problem_.paged() ? Layout::kBshd : batched;
    problem_.q = sequences("q", call_.layout, packed_keys ? "cuSeqlensQ" : nullptr);
    problem_.k = sequences("k", call_.key_layout,
                           packed_queries && !problem_.paged() ? "cuSeqlensK" : nullptr);
    problem_.v = sequences("v", call_.key_layout);
    read_lengths();
    read_scales();
    problem_.scale = usual_scale(problem_.head_dim());
    read_modifiers();
    read_masks();
  }

  /** What holds for any q, k and v. */
  void read_modifiers() {
    if (const auto value = option("scale"); !value.IsUndefined()) {
      problem_.scale = to_finite_float(value, "scale");
    }
    if (const auto value = option("windowLeft"); !value.IsUndefined()) {
      problem_.window_left = to_bound(value, "windowLeft");
    }
    if (const auto value = option("windowRight"); !value.IsUndefined()) {
      problem_.window_right = to_bound(value, "windowRight");
    }
    if (const auto value = option("causal"); !value.IsUndefined() && to_boolean(value, "causal")) {
      problem_.window_right = std::min<int64_t>(problem_.window_right, 0);
    }
    if (const auto value = option("sinkTokens"); !value.IsUndefined()) {
      problem_.sink_tokens = to_integer(value, "sinkTokens", 0, kMaxSafeInteger);
    }
    if (const auto value = option("softcap"); !value.IsUndefined()) {
      problem_.softcap = to_finite_float(value, "softcap");
    }
    if (const auto value = option("dropoutP"); !value.IsUndefined()) {
      problem_.dropout.p = to_number(value, "dropout.p");
    }
    if (const auto value = option("dropoutSeed"); !value.IsUndefined()) {
      problem_.dropout.seed = to_uint64(value, "dropoutSeed");
    }
    if (const auto value = option("dropoutOffset"); !value.IsUndefined()) {
      problem_.dropout.offset = to_uint64(value, "dropoutOffset");
    }
    if (const auto value = option("numSplits"); !value.IsUndefined()) {
      problem_.num_splits = static_cast<int>(to_integer(value, "numSplits", 1, kMaxSplits));
    }
    problem_.alibi_slopes = tensor("alibiSlopes");
    if (problem_.alibi_slopes.rank == 1) {
      problem_.alibi_slopes = with_leading_axis(problem_.alibi_slopes);
    }
    problem_.sinks = tensor("sinks");
  }

  void read_backward(AttentionGradients& gradients) {
    problem_.out = sequences("out", call_.layout);
    gradients.dout = sequences("dOut", call_.layout);
    problem_.lse = checked_lse_axes(tensor("lse", false), call_.layout);
    problem_.deterministic = to_boolean(get("deterministic"), "deterministic");
  }

 private:
  Napi::Value get(const char* name) const { return args_.Get(name); }

  /** Undefined in a plain call, without a look: dozens of them take longer than all its rest. */
  Napi::Value option(const char* name) const { return plain_ ? none_ : get(name); }

  /** The view of a tensor argument; one without axes when it is optional and absent. */
  View tensor(const char* name, bool optional = true) {
    const Napi::Value value = optional ? option(name) : get(name);
    if (optional && value.IsUndefined()) return {};
    const TensorRef tensor = tensor_of(value, name);
    if (call_.stream == nullptr) {
      call_.stream = &Environment::of(args_.Env()).stream(*tensor.storage);
    }
    check_device(tensor, *call_.stream, name);
    call_.inputs.push_back(tensor.storage);
    return tensor.view;
  }

  /** An optional tensor whose contents decide what is legal. */
  void index(const char* name, View& (*field)(AttentionProblem&)) {
    field(problem_) = tensor(name);
    if (field(problem_).present()) call_.indices.push_back({field, call_.inputs.back()});
  }

  /**
   * q, k, v, out or dOut with the axes [batch, seqlen, heads, dim]. `offsets` is what a tensor that
   * seems packed lacks.
   */
  View sequences(const char* name, Layout layout, const char* offsets = nullptr) {
    const View view = tensor(name, false);
    if (layout != Layout::kPacked && offsets != nullptr && view.rank == 3) {
      refuse(ErrorCode::kOption, offsets, "given with " + quoted(name) + " of 3 axes", "none");
    }
    return checked_axes(view, layout, name);
  }

  void read_lengths() {
    problem_.max_seqlen_q = problem_.q.shape[1];
    problem_.max_seqlen_k = problem_.k.shape[1];
    call_.longest_q_given =
        read_longest("maxSeqlenQ", problem_.packed_queries(), problem_.max_seqlen_q);
    call_.longest_k_given =
        read_longest("maxSeqlenK", problem_.packed_keys(), problem_.max_seqlen_k);
    if (!problem_.paged()) return;
    // What overflows is longer than any table may be: `validate` refuses it.
    __builtin_mul_overflow(problem_.page_table.shape[1], problem_.k.shape[1],
                           &problem_.max_seqlen_k);
  }

  bool read_longest(const char* name, bool packed, int64_t& longest) {
    const Napi::Value value = option(name);
    if (value.IsUndefined()) return false;
    if (!packed) {
      refuse(ErrorCode::kOption, name, "absent without `cuSeqlensQ` and `cuSeqlensK`",
             shown(value));
    }
    // No sequence is longer than all tokens: a loose bound would only make empty tiles.
    longest = std::min(to_integer(value, name, 0, kMaxSeqlen), longest);
    return true;
  }

  /**
   * One scale for all of a tensor, per head, or (q and k) per head and block of a sequence's
   * tokens. Of 8-bit pages under floating q they are per token and head, or per head.
   */
  void read_scales() {
    const int64_t batch = problem_.batch(), kv_heads = problem_.k.shape[2];
    problem_.q_scale =
        scales_over(tensor("qScale"),
                    {batch, problem_.q.shape[2], ceil_div(problem_.max_seqlen_q, kScaleTokens)});
    problem_.k_scale = tensor("kScale");
    problem_.v_scale = tensor("vScale");
    if (problem_.paged() && !problem_.float8()) {
      problem_.k_scale = page_scales_over(problem_.k_scale, problem_.k);
      problem_.v_scale = page_scales_over(problem_.v_scale, problem_.k);
    } else if (problem_.paged()) {
      problem_.k_scale = head_scales_over(problem_.k_scale, batch, kv_heads);
      problem_.v_scale = head_scales_over(problem_.v_scale, batch, kv_heads);
    } else {
      const int64_t blocks = ceil_div(problem_.max_seqlen_k, kScaleTokens);
      problem_.k_scale = scales_over(problem_.k_scale, {batch, kv_heads, blocks});
      problem_.v_scale = scales_over(problem_.v_scale, {batch, kv_heads});
    }
  }

  void read_masks() {
    problem_.mask = tensor("mask");
    if (problem_.mask.present()) {
      problem_.mask = mask_over(problem_.mask, {problem_.q.shape[0], problem_.heads(),
                                                problem_.q.shape[1], problem_.max_seqlen_k});
    }
    BlockMaskView& block_mask = problem_.block_mask;
    index("blockMaskTable", [](AttentionProblem& p) -> View& { return p.block_mask.table; });
    // Not judged, but counted by plans, on the host.
    index("blockMaskBits", [](AttentionProblem& p) -> View& { return p.block_mask.bits; });
    if (!block_mask.present()) return;
    block_mask.block_q = to_integer(get("blockQ"), "blockQ", 1, kMaxInt32);
    block_mask.block_k = to_integer(get("blockK"), "blockK", 1, kMaxInt32);
    block_mask.seqlen_q = mask_seqlen("blockMaskSeqlenQ");
    block_mask.seqlen_k = mask_seqlen("blockMaskSeqlenK");
  }

  int64_t mask_seqlen(const char* name) {
    const Napi::Value value = get(name);
    return value.IsUndefined() ? kAnySeqlen : to_integer(value, name, 0, kMaxSafeInteger);
  }

  const Napi::Object& args_;
  AttentionCall& call_;
  AttentionProblem& problem_;
  const Napi::Value none_;
  bool plain_ = false;
};

/** The longest of the sequences between ascending offsets. */
int64_t longest(const View& offsets) {
  const auto* data = static_cast<const int32_t*>(offsets.data);
  int64_t result = 0;
  for (int64_t i = 1; i < offsets.shape[0]; ++i) {
    const int64_t begin = data[(i - 1) * offsets.strides[0]];
    result = std::max(result, data[i * offsets.strides[0]] - begin);
  }
  return result;
}

/** A copy of a tensor in host memory, that `held` gets. Waits for all that is queued. */
View fetch(const View& view, const std::shared_ptr<Storage>& storage, Stream& stream,
           std::vector<std::shared_ptr<Storage>>& held) {
  const size_t bytes = static_cast<size_t>(view.size()) * dtype_size(view.dtype);
  const auto copy = std::make_shared<HostStorage>(&stream, bytes);
  held.push_back(copy);
  stream.enqueue(ops::Download{.source = view, .dtype = view.dtype, .host = copy->data()},
                 {{storage}, {copy}});
  stream.wait(stream.last_enqueued());
  if (const auto failure = copy->failure()) throw Error(*failure);
  return contiguous_like(view, view.dtype, copy->data());
}

}  // namespace

bool AttentionCall::indices_ready() const {
  return std::all_of(indices.begin(), indices.end(),
                     [](const Index& index) { return host_readable(*index.storage); });
}

float usual_scale(int64_t head_dim) {
  return head_dim > 0 ? static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim))) : 1;
}

void read_modifiers(const Napi::Object& args, AttentionCall& call) {
  Reader(args, call).read_modifiers();
}

AttentionCall attention_call(const Napi::Value& args) {
  if (!args.IsObject()) refuse(ErrorCode::kType, "args", "an object", shown(args));
  AttentionCall call;
  Reader(args.As<Napi::Object>(), call).read();
  return call;
}

BackwardCall backward_call(const Napi::Value& args) {
  if (!args.IsObject()) refuse(ErrorCode::kType, "args", "an object", shown(args));
  BackwardCall call;
  const Napi::Object object = args.As<Napi::Object>();
  Reader reader(object, call.forward);
  reader.read();
  reader.read_backward(call.gradients);
  return call;
}

HostProblem check_indices(AttentionCall& call) {
  HostProblem host{.problem = call.problem, .fetched = {}, .assumed = {}};
  AttentionProblem& problem = host.problem;
  for (const Index& index : call.indices) {
    View& view = index.view(problem);
    if (const auto failure = index.storage->failure()) throw Error(*failure);
    if (host_readable(*index.storage)) {
      view = host_view(view, *index.storage);
    } else if (call.stream->idle() && index.storage->stream()->idle()) {
      view = fetch(view, index.storage, *call.stream, host.fetched);
    } else {
      view.data = nullptr;
    }
  }
  host.assumed = assume_contents(problem);
  if (problem.packed_queries() && !call.longest_q_given)
    problem.max_seqlen_q = longest(problem.cu_seqlens_q);
  if (problem.packed_keys() && !call.longest_k_given)
    problem.max_seqlen_k = longest(problem.cu_seqlens_k);
  validate_contents(problem);
  if (host.assumed.names.empty() && call.stream->shares_prefixes())
    problem.shared_prefixes = find_shared_prefixes(problem);
  if (call.stream->asynchronous()) call.problem.sequences = sequence_table(problem);
  call.problem.max_seqlen_q = problem.max_seqlen_q;
  call.problem.max_seqlen_k = problem.max_seqlen_k;
  call.problem.shared_prefixes = problem.shared_prefixes;
  return host;
}

}  // namespace fa::binding
