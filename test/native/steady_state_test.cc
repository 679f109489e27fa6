// Decoding allocates nothing once it has run: every allocation of C++ code is counted, and a call
// like the ones before it must add none.
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <vector>

#include "check.h"
#include "core/layout.h"
#include "core/validate.h"
#include "cpu/ops.h"

namespace {
std::atomic<int64_t> allocations{0};

void* counted(size_t bytes, size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes > 0 ? bytes : 1) != 0) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

using fa::AttentionProblem;
using fa::contiguous_view;
using fa::DType;

constexpr int64_t kHeads = 8, kKvHeads = 2, kDim = 64, kPage = 16;

/**
 * One new token per sequence, with everything a call may have beside it that a later call needs
 * too.
 */
struct Decode {
  std::vector<float> q, k, v, out, lse, sinks;
  std::vector<int32_t> pages, lengths, cu_seqlens_q, cu_seqlens_k;
  std::vector<char> mask;
  AttentionProblem problem;

  Decode(int64_t batch, int64_t keys)
      : q(static_cast<size_t>(batch * kHeads * kDim), 0.1f),
        k(static_cast<size_t>(batch * keys * kKvHeads * kDim), 0.2f),
        v(k.size(), 0.3f),
        out(q.size()),
        lse(static_cast<size_t>(batch * kHeads)) {
    AttentionProblem& p = problem;
    p.q = contiguous_view(q.data(), DType::kFloat32, {batch, 1, kHeads, kDim});
    p.k = contiguous_view(k.data(), DType::kFloat32, {batch, keys, kKvHeads, kDim});
    p.v = contiguous_view(v.data(), DType::kFloat32, {batch, keys, kKvHeads, kDim});
    p.out = contiguous_view(out.data(), DType::kFloat32, {batch, 1, kHeads, kDim});
    p.lse = contiguous_view(lse.data(), DType::kFloat32, {batch, kHeads, 1});
    p.max_seqlen_q = 1;
    p.max_seqlen_k = keys;
    p.scale = 0.125f;
  }

  Decode& with_sinks() {
    sinks.assign(kHeads, 0.5f);
    problem.sinks = contiguous_view(sinks.data(), DType::kFloat32, {kHeads});
    return *this;
  }

  Decode& with_splits(int splits) {
    problem.num_splits = splits;
    return *this;
  }

  Decode& with_mask() {
    const int64_t keys = problem.max_seqlen_k;
    mask.assign(static_cast<size_t>(keys), 1);
    mask[3] = 0;
    problem.mask = contiguous_view(mask.data(), DType::kBool, {problem.batch(), kHeads, 1, keys});
    for (int axis = 0; axis < 3; ++axis) problem.mask.strides[axis] = 0;
    return *this;
  }

  Decode& as_paged() {
    AttentionProblem& p = problem;
    const int64_t batch = p.batch(), per_sequence = p.max_seqlen_k / kPage;
    for (int64_t i = 0; i < batch * per_sequence; ++i) pages.push_back(static_cast<int32_t>(i));
    lengths.assign(static_cast<size_t>(batch), static_cast<int32_t>(p.max_seqlen_k));
    const int64_t count = batch * per_sequence;
    p.k = contiguous_view(k.data(), DType::kFloat32, {count, kPage, kKvHeads, kDim});
    p.v = contiguous_view(v.data(), DType::kFloat32, {count, kPage, kKvHeads, kDim});
    p.page_table = contiguous_view(pages.data(), DType::kInt32, {batch, per_sequence});
    p.seqlens_k = contiguous_view(lengths.data(), DType::kInt32, {batch});
    return *this;
  }

  Decode& as_varlen() {
    AttentionProblem& p = problem;
    const int64_t batch = p.batch(), keys = p.max_seqlen_k;
    for (int64_t b = 0; b <= batch; ++b) {
      cu_seqlens_q.push_back(static_cast<int32_t>(b));
      cu_seqlens_k.push_back(static_cast<int32_t>(b * keys));
    }
    p.q = contiguous_view(q.data(), DType::kFloat32, {1, batch, kHeads, kDim});
    p.out = contiguous_view(out.data(), DType::kFloat32, {1, batch, kHeads, kDim});
    p.k = contiguous_view(k.data(), DType::kFloat32, {1, batch * keys, kKvHeads, kDim});
    p.v = contiguous_view(v.data(), DType::kFloat32, {1, batch * keys, kKvHeads, kDim});
    p.lse = contiguous_view(lse.data(), DType::kFloat32, {1, kHeads, batch});
    p.cu_seqlens_q = contiguous_view(cu_seqlens_q.data(), DType::kInt32, {batch + 1});
    p.cu_seqlens_k = contiguous_view(cu_seqlens_k.data(), DType::kInt32, {batch + 1});
    return *this;
  }
};

/** A layer of a step of a cache: append, rotation of q and k, attention over what all share. */
struct Layer {
  Decode decode;
  std::vector<char> k_pages, v_pages;
  std::vector<float> k_scales, v_scales;
  std::vector<float> k, v, q, tables;
  std::vector<int32_t> slots, positions, offsets;
  fa::ops::StepAttention op;

  Layer(int64_t batch, int64_t keys, DType cache)
      : decode(batch, keys),
        k_pages(decode.k.size() * fa::dtype_size(cache)),
        v_pages(k_pages.size()),
        k_scales(decode.k.size() / kDim, 0.01f),
        v_scales(k_scales),
        k(static_cast<size_t>(batch * kKvHeads * kDim), 0.2f),
        v(k.size(), 0.3f),
        q(decode.q),
        tables(static_cast<size_t>(keys * kDim / 2), 0.6f) {
    decode.as_paged();
    AttentionProblem& p = decode.problem;
    p.k = contiguous_like(p.k, cache, k_pages.data());
    p.v = contiguous_like(p.v, cache, v_pages.data());
    if (fa::is_quantized(cache)) {
      const auto scales = [&](std::vector<float>& of) {
        return contiguous_view(of.data(), DType::kFloat32, {p.k.shape[0], kPage, kKvHeads});
      };
      p.k_scale = scales(k_scales);
      p.v_scale = scales(v_scales);
    }
    // All but the last page of each sequence are those of the first.
    const int64_t pages = keys / kPage;
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t i = 0; i + 1 < pages; ++i)
        decode.pages[static_cast<size_t>(b * pages + i)] = static_cast<int32_t>(i);
      slots.push_back(static_cast<int32_t>((b * pages + pages) * kPage - 1));
      positions.push_back(static_cast<int32_t>(keys - 1));
    }
    for (int32_t b = 0; b <= batch; ++b) offsets.push_back(b);
    p.q = contiguous_view(q.data(), DType::kFloat32, {1, batch, kHeads, kDim});
    p.out = contiguous_view(decode.out.data(), DType::kFloat32, {1, batch, kHeads, kDim});
    p.lse = contiguous_view(decode.lse.data(), DType::kFloat32, {1, kHeads, batch});
    p.cu_seqlens_q = contiguous_view(offsets.data(), DType::kInt32, {batch + 1});
    p.shared_prefixes = fa::find_shared_prefixes(p);
    fa::Rotary rotary;
    rotary.cos = rotary.sin = contiguous_view(tables.data(), DType::kFloat32, {keys, kDim / 2});
    rotary.positions = contiguous_view(positions.data(), DType::kInt32, {batch});
    fa::Appending& a = op.append.appending;
    a.k = contiguous_view(k.data(), DType::kFloat32, {batch, kKvHeads, kDim});
    a.v = contiguous_view(v.data(), DType::kFloat32, {batch, kKvHeads, kDim});
    a.k_pages = p.k;
    a.v_pages = p.v;
    a.k_scales = p.k_scale;
    a.v_scales = p.v_scale;
    a.slots = contiguous_view(slots.data(), DType::kInt32, {batch});
    a.rotary = rotary;
    fa::Rotation& rotation = op.rotate.rotation;
    rotation = {.x = contiguous_view(decode.q.data(), DType::kFloat32, {1, batch, kHeads, kDim}),
                .out = p.q,
                .rotary = rotary};
    rotation.rotary.positions = fa::with_leading_axis(rotary.positions);
    fa::validate(a);
    fa::validate_contents(a);
    op.attention.problem = p;
  }
};

/**
 * Threads take items as they come, so a thread may meet its first one late and only then make its
 * scratch: what must come is a stretch of calls without any allocation, before as many as one per
 * call would make.
 */
template <typename Call>
void allocates_nothing(const Decode& decode, const Call& call) {
  fa::validate(decode.problem, fa::Layout::kBshd);
  CHECK(fa::cpu::plan_attention(decode.problem).kernel == std::string("cpu.decode"));
  constexpr int kCalls = 100;
  for (int stretch = 0; stretch < 20; ++stretch) {
    const int64_t before = allocations.load();
    for (int i = 0; i < kCalls; ++i) call();
    const int64_t made = allocations.load() - before;
    if (made == 0) {
      for (const float x : decode.out) CHECK(std::isfinite(x));
      return;
    }
    CHECK(stretch == 0 || made < kCalls);
  }
  CHECK(!"a stretch of calls without allocations");
}

void allocates_nothing(const Decode& decode) {
  allocates_nothing(decode, [&] { fa::cpu::attention_forward(decode.problem, nullptr); });
}

void allocates_nothing(const Layer& layer) {
  fa::cpu::Clock::time_point lap;
  fa::cpu::Execution execution{.cancel = nullptr, .lap = lap};
  const AttentionProblem& problem = layer.op.attention.problem;
  const size_t shared = problem.batch() > 1 ? 1 : 0;
  CHECK(fa::cpu::plan_attention(problem).shared_prefixes.size() == shared);
  allocates_nothing(layer.decode, [&] { layer.op.run(execution); });
}

}  // namespace

int main() {
  const int64_t before = allocations.load();
  std::vector<float>(16, 1.f);
  CHECK(allocations.load() == before + 1);  // the count works

  allocates_nothing(Decode(1, 2048));
  allocates_nothing(Decode(3, 512).with_splits(4).with_sinks());
  allocates_nothing(Decode(2, 1024).with_mask());
  allocates_nothing(Decode(2, 1024).as_paged().with_splits(3));
  allocates_nothing(Decode(4, 512).as_varlen().with_sinks());
  for (const DType cache : {DType::kFloat32, DType::kBFloat16, DType::kInt8}) {
    allocates_nothing(Layer(1, 1024, cache));
    allocates_nothing(Layer(12, 1024, cache));
  }
  std::puts("steady state: ok");
  return 0;
}
