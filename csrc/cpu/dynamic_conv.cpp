// Lightweight and dynamic convolutions, cut into work items: a head's tokens in tiles.
#include <algorithm>
#include <cstring>
#include <functional>

#include "core/divide.h"
#include "cpu/arena.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr int64_t kTileTokens = 64;              // at least
constexpr int64_t kItemWork = int64_t{1} << 16;  // products of one parallel item, at least

Rows rows_of(const View& view, int64_t batch, int64_t head) {
  if (!view.present()) return {};
  return {.base = view.at(batch * view.strides[0] + head * view.strides[2]),
          .dtype = static_cast<int>(view.dtype),
          .row_stride = view.strides[1],
          .dim_stride = view.strides[3]};
}

/** Input `i` of a sequence, which may come before the first, to row `row` of the next state. */
void keep_input(const Convolution& c, int64_t batch, int64_t i, int64_t row) {
  const View& to = c.next_state;
  const View& from = i < 0 ? c.state : c.x;
  for (int64_t head = 0; head < c.heads(); ++head) {
    char* const target = to.at(batch * to.strides[0] + row * to.strides[1] + head * to.strides[2]);
    if (!from.present()) {
      std::memset(target, 0, static_cast<size_t>(c.dim()) * dtype_size(to.dtype));
      continue;
    }
    const int64_t source_row = i < 0 ? i + c.kernel_size() - 1 : i;
    kernels().convert_row(
        from.at(batch * from.strides[0] + source_row * from.strides[1] + head * from.strides[2]),
        static_cast<int>(from.dtype), from.strides[3], static_cast<int>(c.dim()), target,
        static_cast<int>(to.dtype));
  }
}

}  // namespace

void convolve(const Convolution& c, Cancel cancel) {
  // A tile converts K - 1 rows beside its own: it has as many of those at least.
  const int64_t tile = std::max(kTileTokens, c.kernel_size());
  const int64_t tiles = ceil_div(c.seqlen(), tile), units = c.batch() * c.heads() * tiles;
  const int64_t work = std::min(tile, c.seqlen()) * c.kernel_size() * c.dim();
  const int64_t each = std::max<int64_t>(1, kItemWork / std::max<int64_t>(1, work));
  const KernelTable& table = kernels();
  const auto convolve_item = [&](int64_t item) {
    static thread_local Arena arena;
    for (int64_t unit = item * each; unit < std::min(units, (item + 1) * each); ++unit) {
      const int64_t begin = unit % tiles * tile;
      const int64_t head = unit / tiles % c.heads(), batch = unit / tiles / c.heads();
      const ConvolveArgs args{.x = rows_of(c.x, batch, head),
                              .state = rows_of(c.state, batch, head),
                              .weights = rows_of(c.weights, batch, head),
                              .out = rows_of(c.out, batch, head),
                              .kernel_size = static_cast<int>(c.kernel_size()),
                              .dim = static_cast<int>(c.dim()),
                              .begin = begin,
                              .end = std::min(c.seqlen(), begin + tile)};
      table.convolve(args, arena.reserve(table.convolve_scratch(args)));
    }
  };
  parallel_for(ceil_div(units, each), std::ref(convolve_item), cancel, "convolve");

  const int64_t kept = c.next_state.present() ? c.kernel_size() - 1 : 0;
  if (kept == 0) return;
  const auto keep_row = [&](int64_t item) {
    const int64_t row = item % kept;
    keep_input(c, item / kept, c.seqlen() - kept + row, row);
  };
  parallel_for(c.batch() * kept, std::ref(keep_row), cancel, "keep state");
}

}  // namespace fa::cpu

namespace fa {

void ops::DynamicConv::run(cpu::Execution& execution) const {
  cpu::convolve(convolution, execution.cancel);
}

}  // namespace fa
