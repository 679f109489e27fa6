// Conversion, zeros and normal random numbers.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/philox.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr int64_t kChunk = int64_t{1} << 16;  // elements of one parallel item

/**
 * Two views of one shape as rows: the longest trailing run that has one stride in the source and
 * lies side by side in the target.
 */
struct RowWalk {
  View source, target;  // the axes before it
  int64_t length, stride;
};

RowWalk rows_of(const View& source, const View& target) {
  RowWalk walk{source, target, 1, 1};
  int last = source.rank;
  while (last > 0) {
    const int64_t extent = source.shape[last - 1], stride = source.strides[last - 1];
    if (extent != 1) {
      if (target.strides[last - 1] != walk.length) break;
      if (walk.length == 1)
        walk.stride = stride;
      else if (stride != walk.stride * walk.length)
        break;
      walk.length *= extent;
    }
    --last;
  }
  walk.source.rank = walk.target.rank = last;
  return walk;
}

int64_t outer_offset(const View& outer, int64_t index) {
  int64_t offset = 0;
  for (int axis = outer.rank - 1; axis >= 0; --axis) {
    offset += index % outer.shape[axis] * outer.strides[axis];
    index /= outer.shape[axis];
  }
  return offset;
}

}  // namespace

void convert(const View& source, const View& target, Cancel cancel) {
  const int64_t size = source.size();
  if (size == 0) return;
  const RowWalk walk = rows_of(source, target);
  const KernelTable& table = kernels();
  const int64_t chunks = (size + kChunk - 1) / kChunk;
  const auto convert_chunk = [&](int64_t chunk) {
    const int64_t end = std::min(size, (chunk + 1) * kChunk);
    for (int64_t at = chunk * kChunk; at < end;) {
      const int64_t row = at / walk.length, column = at % walk.length;
      const int64_t n = std::min(walk.length - column, end - at);
      table.convert_row(source.at(outer_offset(walk.source, row) + column * walk.stride),
                        static_cast<int>(source.dtype), walk.stride, static_cast<int>(n),
                        target.at(outer_offset(walk.target, row) + column),
                        static_cast<int>(target.dtype));
      at += n;
    }
  };
  parallel_for(chunks, std::ref(convert_chunk), cancel, "convert");
}

void fill_zero(const View& target, Cancel cancel) {
  const int64_t size = target.size();
  const int64_t chunks = (size + kChunk - 1) / kChunk;
  parallel_for(
      chunks,
      [&](int64_t chunk) {
        const int64_t begin = chunk * kChunk, n = std::min(size - begin, kChunk);
        std::memset(target.at(begin), 0, static_cast<size_t>(n) * dtype_size(target.dtype));
      },
      cancel, "zeros");
}

void fill_normal(const View& target, uint64_t seed, Cancel cancel) {
  constexpr double kTwoPi = 6.283185307179586;
  const int64_t size = target.size();
  const int64_t chunks = (size + kChunk - 1) / kChunk;
  const KernelTable& table = kernels();
  parallel_for(
      chunks,
      [&](int64_t chunk) {
        const int64_t begin = chunk * kChunk, end = std::min(size, begin + kChunk);
        for (int64_t at = begin; at < end; at += 4) {
          const uint64_t draw = static_cast<uint64_t>(at / 4);
          uint32_t words[4] = {static_cast<uint32_t>(draw), static_cast<uint32_t>(draw >> 32), 0,
                               0};
          philox(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
          float values[4];
          for (int pair = 0; pair < 4; pair += 2) {
            // Box-Muller on (0, 1] x [0, 1).
            const double radius = std::sqrt(-2 * std::log((words[pair] + 1.0) / 4294967296.0));
            const double angle = kTwoPi * (words[pair + 1] / 4294967296.0);
            values[pair] = static_cast<float>(radius * std::cos(angle));
            values[pair + 1] = static_cast<float>(radius * std::sin(angle));
          }
          table.convert_row(reinterpret_cast<const char*>(values),
                            static_cast<int>(DType::kFloat32), 1,
                            static_cast<int>(std::min<int64_t>(4, end - at)), target.at(at),
                            static_cast<int>(target.dtype));
        }
      },
      cancel, "randn");
}

}  // namespace fa::cpu

namespace fa {

void ops::Convert::run(cpu::Execution& execution) const {
  cpu::convert(source, target, execution.cancel);
}

void ops::FillZero::run(cpu::Execution& execution) const {
  cpu::fill_zero(target, execution.cancel);
}

void ops::FillNormal::run(cpu::Execution& execution) const {
  cpu::fill_normal(target, seed, execution.cancel);
}

void ops::Download::run(cpu::Execution& execution) const {
  cpu::convert(source, contiguous_like(source, dtype, host), execution.cancel);
}

void ops::Receive::run(cpu::Execution& execution) const {
  cpu::convert(contiguous_like(target, dtype, const_cast<void*>(host)), target, execution.cancel);
}

}  // namespace fa
