// Padding that is given as a mask: keys at either end which it hides from all rows of an item, or
// puts so far below the others that they do not count. They are left out of the pass over the keys,
// and what is left often needs no mask.
//
// Models write padding as float32's lowest number or as -10000 rather than as -infinity. Such keys
// are visible: they count in a row that sees no other, and NaN in one of them counts in every row.
// So each row is judged when its softmax is known. Where its maximum is so far above all that the
// keys left out can reach that exp2 gives 0 for them, they have added nothing; any other row is
// computed again, over all keys.
#pragma once

#include "cpu/kernels/tile.h"
#include "cpu/kernels/tile_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

class KeyMask {
 public:
  /** The item without those keys; without its mask, where that does nothing to the others. */
  ForwardArgs rest;

  /** `far`: also leaves out what is only far below, and then rows have to be judged. */
  KeyMask(const ForwardArgs& a, bool far) : rest(a), all_(a) {
    if (!masks_keys_alone(a)) return;
    const float least = far && a.alibi_slopes == nullptr ? kFarBelow : -kInfinity;
    int64_t begin = a.key_begin, end = a.key_end;
    while (begin < end && value(begin) <= least) ++begin;
    while (begin < end && value(end - 1) <= least) --end;
    if (begin == end && least > -kInfinity) return;  // no key stands out
    rest.key_begin = larger(a.key_begin, begin / kColumnStep * kColumnStep);
    rest.key_end = end;
    for (int64_t j = a.key_begin; j < rest.key_begin; ++j) highest_ = highest(j);
    for (int64_t j = end; j < a.key_end; ++j) highest_ = highest(j);
    bool does_nothing = true;
    for (int64_t j = rest.key_begin; does_nothing && j < end; ++j) does_nothing = value(j) == 0;
    if (does_nothing) rest.mask.base = nullptr;
  }

  /**
   * Marks rows in which keys left out may count as out of base 2's range, so that they are computed
   * again. `rows`: scratch for one row of K or V.
   */
  void judge(Panel* panels, int count, Element of, float* rows) const {
    if (highest_ == -kInfinity) return;
    const float reach = largest_key(rows) * (1 + 0x1p-10f);
    for (int i = 0; i < count; ++i) judge(panels[i], of, reach);
  }

 private:
  /** A mask's value from which on a key may be left out. */
  static constexpr float kFarBelow = -9000;
  /** Between a row's maximum, in base 2, and a score whose exp2 is 0, whatever its reference. */
  static constexpr float kNothing = 150;

  /** What the mask adds to the scores of key j. */
  float value(int64_t j) const {
    const DenseMask& mask = all_.mask;
    const float x =
        load_scalar(mask.base + j * mask.key_stride * element_size(mask.dtype), mask.dtype);
    return mask.dtype != kBool ? x : x != 0 ? 0.f : -kInfinity;
  }

  float highest(int64_t j) const { return std::fmax(highest_, value(j)); }

  /** The largest magnitude in the keys left out; infinity if they or their values have no such. */
  float largest_key(float* rows) const {
    if (all_.k_scale.base != nullptr) return kInfinity;
    constexpr uint32_t kInfinityBits = 0x7f800000u;
    uint32_t largest = 0;
    const auto look = [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        const uint32_t k = largest_of(all_.k, all_.k_page_stride, all_.head_dim, j, rows);
        const uint32_t v = largest_of(all_.v, all_.v_page_stride, all_.head_dim_v, j, rows);
        largest = k > largest ? k : largest;
        if (v >= kInfinityBits) largest = kInfinityBits;
      }
    };
    look(all_.key_begin, rest.key_begin);
    look(rest.key_end, all_.key_end);
    return largest >= kInfinityBits ? kInfinity : load<float>(&largest);
  }

  /** Bits of the largest magnitude in a row; NaN is the largest. */
  uint32_t largest_of(const Rows& of, int64_t page_stride, int dim, int64_t j, float* rows) const {
    const char* const row = key_row(all_, of, page_stride, j);
    const bool plain = of.dtype == kFloat32 && is_whole(of, dim);
    if (!plain) load_row(row, of.dtype, of.dim_stride, dim, rows);
    const float* const numbers = plain ? reinterpret_cast<const float*>(row) : rows;
    VecI largest{};
    for (int d = 0; d < dim; d += kLanes) {
      const VecI magnitude = load<VecI>(numbers + d) & 0x7fffffff;
      largest = magnitude > largest ? magnitude : largest;
    }
    int32_t result = 0;
    for (int lane = 0; lane < kLanes; ++lane)
      result = result > largest[lane] ? result : largest[lane];
    return static_cast<uint32_t>(result);
  }

  void judge(Panel& panel, Element of, float reach) const {
    const float per_natural = panel.units.per_natural;
    const Vec highest = bias_in(panel.units, splat(highest_));
    const int count = of == Element::kPair ? (all_.head_dim + 1) / 2 : all_.head_dim;
    for (int g = 0; g < panel.groups; ++g) {
      Vec size{};  // of the query: no score is larger than this times the largest key
      for (int d = 0; d < count; ++d) {
        const VecU q = load<VecU>(panel.q + (d * kRowVectors + g) * kLanes);
        size += of == Element::kPair ? absolute(low_of_pair(q)) + absolute(high_of_pair(q))
                                     : absolute((Vec)q);
      }
      if (of == Element::kPair) size *= splat(std::fabs(all_.scale) * per_natural);
      const VecI settled = (VecI)(panel.max[g] - (size * splat(reach) + highest) > splat(kNothing));
      panel.sum[g] = select(settled, panel.sum[g], splat(std::numeric_limits<float>::quiet_NaN()));
    }
  }

  const ForwardArgs& all_;
  float highest_ = -kInfinity;  // of the mask's values for keys left out
};

}  // namespace
}  // namespace fa::cpu::FA_ISA
