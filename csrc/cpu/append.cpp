// Keys and values into pages, and the rotation of any rows.
#include "core/append.h"

#include <algorithm>
#include <cstdint>
#include <functional>

#include "core/divide.h"
#include "core/validate.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr int64_t kItemElements = int64_t{1} << 14;  // of one parallel item, at least

int64_t tokens_per_item(int64_t elements_of_token) {
  return std::max<int64_t>(1, kItemElements / std::max<int64_t>(1, elements_of_token));
}

/** Elements side by side, of any dtype, as floats; or the reverse. */
void to_floats(const char* row, DType dtype, int64_t stride, int64_t count, float* floats) {
  kernels().convert_row(row, static_cast<int>(dtype), stride, static_cast<int>(count),
                        reinterpret_cast<char*>(floats), static_cast<int>(DType::kFloat32));
}
void from_floats(const float* floats, int64_t count, char* row, DType dtype) {
  kernels().convert_row(reinterpret_cast<const char*>(floats), static_cast<int>(DType::kFloat32), 1,
                        static_cast<int>(count), row, static_cast<int>(dtype));
}

/** The rotation of one position. */
class Turn {
 public:
  Turn(const Rotary& rotary, int64_t position)
      : pairs_(static_cast<int>(rotary.pairs())),
        offset_(static_cast<int>(rotary.offset)),
        interleaved_(rotary.interleaved) {
    for (const auto& [table, floats] : {std::pair{&rotary.cos, cos_}, {&rotary.sin, sin_}})
      to_floats(table->at(position * table->strides[0]), table->dtype, table->strides[1], pairs_,
                floats);
  }

  void apply(float* row) const {
    for (int i = 0; i < pairs_; ++i) {
      const RotaryPair pair(interleaved_, offset_, i, pairs_);
      turn(row[pair.first], row[pair.second], cos_[i], sin_[i]);
    }
  }

 private:
  static constexpr int kRoom = kMaxHeadDim / 2 + 16;
  int pairs_, offset_;
  bool interleaved_;
  alignas(64) float cos_[kRoom];
  alignas(64) float sin_[kRoom];
};

/** `dim` elements of one row into another whose elements lie side by side. */
void copy_row(const char* from, DType dtype, int64_t stride, int64_t dim, const Turn* turn,
              char* to, DType to_dtype) {
  if (turn == nullptr) {
    kernels().convert_row(from, static_cast<int>(dtype), stride, static_cast<int>(dim), to,
                          static_cast<int>(to_dtype));
    return;
  }
  alignas(64) float row[kMaxHeadDim + 16];
  to_floats(from, dtype, stride, dim, row);
  turn->apply(row);
  from_floats(row, dim, to, to_dtype);
}

/** Where a token goes: into one row of pages, and of scales where those are in 8 bits. */
struct Slot {
  int64_t page, row;

  char* in(const View& pages, int64_t head) const {
    return pages.at(page * pages.strides[0] + row * pages.strides[1] + head * pages.strides[2]);
  }
};

/** The codes of a row into its slot, by the caller's scale or one that becomes the row's own. */
void encode_row(const float* row, int dim, char* to, DType dtype, float* scale, bool is_static) {
  if (is_static)
    kernels().encode_row(row, dim, *scale, to, static_cast<int>(dtype));
  else
    *scale = kernels().quantize_row(row, dim, to, static_cast<int>(dtype));
}

/** Token t of `x` [total, heads, dim] into its slot; of pages in 8 bits by scales as such pages. */
void copy_token(const View& x, int64_t t, const View& pages, const View& scales, bool is_static,
                Slot slot, const Turn* turn) {
  for (int64_t head = 0; head < x.shape[1]; ++head) {
    const char* const from = x.at(t * x.strides[0] + head * x.strides[1]);
    if (!scales.present()) {
      copy_row(from, x.dtype, x.strides[2], x.shape[2], turn, slot.in(pages, head), pages.dtype);
      continue;
    }
    alignas(64) float row[kMaxHeadDim + 16];
    copy_row(from, x.dtype, x.strides[2], x.shape[2], turn, reinterpret_cast<char*>(row),
             DType::kFloat32);
    encode_row(row, static_cast<int>(x.shape[2]), slot.in(pages, head), pages.dtype,
               reinterpret_cast<float*>(slot.in(scales, head)), is_static);
  }
}

void append(const Appending& a, Cancel cancel) {
  const int64_t tokens = a.tokens();
  const int64_t each = tokens_per_item(a.kv_heads() * (a.k.shape[2] + a.v.shape[2]));
  const View k_scales = page_scales_over(a.k_scales, a.k_pages);
  const View v_scales = page_scales_over(a.v_scales, a.k_pages);
  const auto copy_k = [&](int64_t t, Slot slot, const Turn* turn) {
    copy_token(a.k, t, a.k_pages, k_scales, a.static_scales(), slot, turn);
  };
  const auto append_item = [&](int64_t item) {
    for (int64_t t = item * each; t < std::min(tokens, (item + 1) * each); ++t) {
      const int64_t index = int32_data(a.slots)[t * a.slots.strides[0]];
      const Slot slot{index / a.page_size(), index % a.page_size()};
      if (a.rotary.present()) {
        const View& positions = a.rotary.positions;
        const Turn turn(a.rotary, int32_data(positions)[t * positions.strides[0]]);
        copy_k(t, slot, &turn);
      } else {
        copy_k(t, slot, nullptr);
      }
      if (a.has_values()) copy_token(a.v, t, a.v_pages, v_scales, a.static_scales(), slot, nullptr);
    }
  };
  parallel_for(ceil_div(tokens, each), std::ref(append_item), cancel, "append");
}

void rotate(const Rotation& rotation, Cancel cancel) {
  const View &x = rotation.x, &out = rotation.out, &positions = rotation.rotary.positions;
  const int64_t seqlen = x.shape[1], heads = x.shape[2], tokens = x.shape[0] * seqlen;
  const int64_t each = tokens_per_item(heads * x.shape[3]);
  const auto rotate_item = [&](int64_t item) {
    for (int64_t t = item * each; t < std::min(tokens, (item + 1) * each); ++t) {
      const int64_t b = t / seqlen, i = t % seqlen;
      const Turn turn(rotation.rotary,
                      int32_data(positions)[b * positions.strides[0] + i * positions.strides[1]]);
      for (int64_t head = 0; head < heads; ++head) {
        const auto row = [&](const View& view) {
          return view.at(b * view.strides[0] + i * view.strides[1] + head * view.strides[2]);
        };
        copy_row(row(x), x.dtype, x.strides[3], x.shape[3], &turn, row(out), out.dtype);
      }
    }
  };
  parallel_for(ceil_div(tokens, each), std::ref(rotate_item), cancel, "rotate");
}

}  // namespace

}  // namespace fa::cpu

namespace fa {

void ops::Append::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(appending);
  cpu::append(appending, execution.cancel);
}

void ops::Rotate::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(rotation);
  cpu::rotate(rotation, execution.cancel);
}

}  // namespace fa
