// What a tile does to its scores besides the product: softcap, ALiBi, the float mask, and
// everything that hides pairs. Whatever hides pairs becomes bits first, one word per row and 32
// keys.
#pragma once

#include "cpu/kernels/panel.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kWordKeys = 32;

/** Bits [0, n) of a word, for n clamped to 0 .. 32. */
FA_ALWAYS_INLINE VecU bits_below(VecI n) {
  const VecI none = n <= 0, all = n >= 32;
  const VecU partial = (splat(uint32_t{1}) << (VecU)(n & 31)) - 1u;
  return ((VecU)all | partial) & ~(VecU)none;
}

/** Words of the window and of the sequence's end: [kPanelRows] for the 32 keys from `key` on. */
FA_ALWAYS_INLINE void window_words(const ForwardArgs& a, const Panel& panel, int64_t key,
                                   uint32_t* words) {
  const VecI first = splat(static_cast<int32_t>(key));
  const VecI sinks = splat(static_cast<int32_t>(smaller(a.sink_tokens, a.seqlen_k)));
  for (int g = 0; g < panel.groups; ++g) {
    const VecU end = bits_below(load<VecI>(panel.window_end + g * kLanes) - first);
    const VecU before = bits_below(load<VecI>(panel.window_begin + g * kLanes) - first);
    store(words + g * kLanes, end & (~before | bits_below(sinks - first)));
  }
}

/** The word of one row of a block mask. */
uint32_t block_word(const BlockMaskArgs& b, int64_t head, int64_t i, int64_t key, int64_t keys) {
  const int32_t* row = b.cells + head * b.head_stride + (i / b.block_q) * b.row_stride;
  uint32_t word = 0;
  for (int64_t j = key; j < key + keys;) {
    const int64_t column = j / b.block_k;
    const int64_t end = smaller((column + 1) * b.block_k, key + keys);
    const int32_t cell = row[column * b.column_stride];
    if (cell == 1) {
      word |= static_cast<uint32_t>((uint64_t{1} << (end - j)) - 1) << (j - key);
    } else if (cell > 1) {
      const int32_t* bits =
          b.bits + (cell - 2) * b.bitmap_stride + (i % b.block_q) * b.bit_row_stride;
      const int64_t from =
          j - column * b.block_k;  // within the block; at most two words hold these bits
      uint64_t run = static_cast<uint32_t>(bits[from / 32 * b.bit_word_stride]);
      if (from % 32 + (end - j) > 32)
        run |= uint64_t{static_cast<uint32_t>(bits[(from / 32 + 1) * b.bit_word_stride])} << 32;
      run = (run >> (from % 32)) & ((uint64_t{1} << (end - j)) - 1);
      word |= static_cast<uint32_t>(run) << (j - key);
    }
    j = end;
  }
  return word;
}

/** The word of one row of a bool mask: true = attend. */
uint32_t bool_word(const char* row, int64_t stride, int64_t keys) {
  uint32_t word = 0;
  if (stride == 1 && keys == kWordKeys) {
    for (int byte = 0; byte < kWordKeys; byte += 8) {
      // Eight bytes of 0 or 1: the product moves byte t's bit to bit 56 + t.
      const uint64_t eight = load<uint64_t>(row + byte);
      word |= static_cast<uint32_t>((eight * 0x0102040810204080u) >> 56) << byte;
    }
    return word;
  }
  for (int64_t t = 0; t < keys; ++t) word |= static_cast<uint32_t>(row[t * stride] != 0) << t;
  return word;
}

/** The word of one row of a tree: keys before it have none. */
uint32_t tree_word(const ForwardArgs& a, int64_t i, int64_t key, int64_t keys) {
  const int64_t first = key - (a.seqlen_k - a.seqlen_q);  // of the tree
  uint32_t word = 0;
  for (int64_t t = larger(first, 0); t < first + keys; ++t)
    word |= static_cast<uint32_t>(sees_in_tree(a, i, t)) << (t - first);
  return word;
}

/** The bits of every mask for up to 32 keys from `key` on: [kPanelRows]. */
void mask_words(const ForwardArgs& a, const Panel& panel, int64_t key, int64_t keys,
                uint32_t* words) {
  window_words(a, panel, key, words);
  const bool dense = a.mask.base != nullptr && a.mask.dtype == kBool;
  if (a.block_mask.cells == nullptr && !dense && a.tree.bits == nullptr) return;
  for (int at = 0; at < panel.groups * kLanes; ++at) {
    const int64_t i = panel.query[at], head = panel.head[at];
    if (a.tree.bits != nullptr) words[at] |= tree_word(a, i, key, keys);
    if (a.block_mask.cells != nullptr) words[at] &= block_word(a.block_mask, head, i, key, keys);
    if (dense) {
      const char* row =
          a.mask.base + head * a.mask.head_stride + i * a.mask.row_stride + key * a.mask.key_stride;
      words[at] &= bool_word(row, a.mask.key_stride, keys);
    }
  }
}

/** Whether all rows of the item have the same mask: one of keys alone. */
FA_ALWAYS_INLINE bool masks_keys_alone(const ForwardArgs& a) {
  return a.mask.base != nullptr && (a.mask.row_stride == 0 || a.seqlen_q == 1) &&
         (a.mask.head_stride == 0 || a.group * a.kv_heads == 1);
}

/** What a float mask does to a panel's scores of some keys. */
enum class Bias { kNothing, kHidesAll, kSomething };

/**
 * The float mask of a tile, transposed to [keys][kRowVectors][kLanes] in its units. `rows`: kLanes
 * rows of `keys` rounded up to kLanes.
 */
Bias load_bias(const ForwardArgs& a, const Panel& panel, int64_t key, int keys, float* rows,
               float* bias) {
  const int64_t size = element_size(a.mask.dtype);
  const int padded = round_up(keys, kLanes);
  const auto load_lane = [&](int at, float* row) {
    const int64_t element = panel.head[at] * a.mask.head_stride +
                            panel.query[at] * a.mask.row_stride + key * a.mask.key_stride;
    load_row(a.mask.base + element * size, a.mask.dtype, a.mask.key_stride, keys, row);
  };
  VecI not_zero{}, not_hidden{};
  const auto convert = [&](Vec x) {
    not_zero |= (VecI)(x != Vec{});
    not_hidden |= (VecI)(x != splat(-kInfinity));
    return bias_in(panel.units, x);
  };
  if (masks_keys_alone(a)) {
    load_lane(0, rows);
    for (int j = 0; j < keys; ++j) {
      const Vec same = convert(splat(rows[j]));
      for (int g = 0; g < panel.groups; ++g) store(bias + (j * kRowVectors + g) * kLanes, same);
    }
  } else {
    for (int g = 0; g < panel.groups; ++g) {
      for (int lane = 0; lane < kLanes; ++lane) load_lane(g * kLanes + lane, rows + lane * padded);
      for (int j = 0; j < keys; j += kLanes) {
        Vec block[kLanes];
        FA_UNROLL
        for (int lane = 0; lane < kLanes; ++lane) block[lane] = load<Vec>(rows + lane * padded + j);
        transpose(block);
        FA_UNROLL
        for (int c = 0; c < kLanes; ++c)
          if (j + c < keys) store(bias + ((j + c) * kRowVectors + g) * kLanes, convert(block[c]));
      }
    }
  }
  return !any(not_zero) ? Bias::kNothing : any(not_hidden) ? Bias::kSomething : Bias::kHidesAll;
}

/**
 * Softcap, ALiBi, float mask, then masks set -infinity; raises `maximum`. `bias` is null without a
 * float mask. Vectors before `first_group` are left alone.
 */
void modify_scores(const ForwardArgs& a, const Panel& panel, int first_group, bool masked,
                   int64_t key, int keys, const float* bias, float* s, Vec* maximum) {
  const float cap = a.softcap * panel.units.per_natural;
  const Vec to_cap = splat(a.softcap > 0 ? 1.f / cap : 0.f);
  const Vec lowest = splat(panel.units.lowest_visible);
  Vec slope[kRowVectors] = {};
  if (a.alibi_slopes != nullptr) {
    for (int at = 0; at < panel.groups * kLanes; ++at)
      slope[at / kLanes][at % kLanes] =
          a.alibi_slopes[panel.head[at] * a.alibi_stride] * panel.units.per_natural;
  }
  alignas(64) uint32_t words[kPanelRows];
  for (int j0 = 0; j0 < keys; j0 += kWordKeys) {
    const int n = static_cast<int>(smaller(kWordKeys, keys - j0));
    if (masked) mask_words(a, panel, key + j0, n, words);
    for (int g = first_group; g < panel.groups; ++g) {
      const VecU word = masked ? load<VecU>(words + g * kLanes) : ~VecU{};
      const VecI position = load<VecI>(panel.position + g * kLanes);
      Vec m = maximum[g];
      for (int t = 0; t < n; ++t) {
        float* at = s + ((j0 + t) * kRowVectors + g) * kLanes;
        Vec x = load<Vec>(at);
        if (a.softcap > 0) x = splat(cap) * tanh(x * to_cap);
        if (a.alibi_slopes != nullptr) {
          const VecI distance = position - static_cast<int32_t>(position_of_key(a, key + j0 + t));
          x -= slope[g] * absolute(__builtin_convertvector(distance, Vec));
        }
        VecI visible = (VecI)(word << (31 - t)) < 0;
        if (bias != nullptr) {
          const Vec b = load<Vec>(bias + ((j0 + t) * kRowVectors + g) * kLanes);
          x += b;
          visible &= b != splat(-kInfinity);
        }
        x = select(visible, max_or_second(lowest, x), splat(-kInfinity));
        m = max_or_second(x, m);
        store(at, x);
      }
      maximum[g] = m;
    }
  }
}

/**
 * Keeps or drops each probability: Philox words by position, four keys a draw. Sums must have been
 * taken before.
 */
void drop_out(const ForwardArgs& a, const Panel& panel, int first_group, int64_t key, int keys,
              float* p) {
  const DropoutArgs& d = a.dropout;
  for (int g = first_group; g < panel.groups; ++g) {
    const VecU query = load<VecU>(panel.query + g * kLanes);
    const VecU stream = load<VecU>(panel.head + g * kLanes) + d.stream0;
    PhiloxWords words{};
    for (int j = 0; j < keys; ++j) {
      const int64_t at_key = key + j;
      if (j == 0 || (at_key & 3) == 0) {
        words = philox(splat(static_cast<uint32_t>(at_key >> 2)), query, stream, splat(d.offset_lo),
                       d.key0, d.key1);
      }
      float* at = p + (j * kRowVectors + g) * kLanes;
      const VecI keep = (VecI)(words.word[at_key & 3] >= d.threshold);
      store(at, select(keep, load<Vec>(at) * d.keep_scale,
                       (Vec)((VecI)load<Vec>(at) & (VecI)splat(-0.f))));
    }
  }
}

/**
 * P = exp2(S - reference), added to `sum` in the order in which products.h adds it: the same bits
 * whichever way a row's P was made. Masked pairs become a true zero whose sign bit marks them.
 * `to_base_2` is for scores that are masked or in natural units.
 */
template <int Groups, bool Masked>
void exponentiate(int first, int keys, float* s, const Vec* reference, Vec to_base_2, Vec* sum) {
  const auto weigh = [&](auto count, int j, int g) {
    Vec partial = Vec{};
    FA_UNROLL
    for (int r = 0; r < count.value; ++r) {
      float* const at = s + ((j + r) * kRowVectors + g) * kLanes;
      const Vec x = load<Vec>(at);
      Vec p;
      if constexpr (Masked) {
        p = exp2_or_zero((x - reference[g]) * to_base_2);
        store(at, select(x == splat(-kInfinity), splat(-0.f), p));
      } else {
        p = exp2_clamped(x - reference[g]);
        store(at, p);
      }
      partial += p;
    }
    sum[g] += partial;
  };
  for (int g = first; g < first + Groups; ++g) {
    int j = 0;
    for (; j + kSumKeys <= keys; j += kSumKeys) weigh(Count<kSumKeys>{}, j, g);
    for (; j < keys; ++j) weigh(Count<1>{}, j, g);
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
