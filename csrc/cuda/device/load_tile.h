// Copies of rows from global memory into shared tiles.
#pragma once

#include "cuda/device/sequence.h"
#include "cuda/device/shared_tile.h"

namespace fa::cuda {

/**
 * Keys or values of one head of a sequence. Strides stay in the kernel's parameters: registers are
 * dear.
 */
template <class T, bool kPaged>
struct KeyRows {
  const T* data;
  const Tensor& tensor;
  const Pages& pages;
  int batch;

  PTX_FN KeyRows(const AttentionParams& p, const Tensor& of, const SequenceRows& s, int sequence,
                 int kv_head)
      : data(static_cast<const T*>(of.data) + kv_head * of.head),
        tensor(of),
        pages(p.pages),
        batch(sequence) {
    if (!kPaged || pages.table == nullptr) data += s.k_batch * of.batch + s.k_begin * of.row;
  }

  PTX_FN const T* row(int j) const {
    if (!kPaged || pages.table == nullptr) return data + j * tensor.row;
    const int slot = pages.page_size.quotient(j);
    const int page = clamp(ptx::ldg(pages.table + batch * pages.batch_stride + slot * pages.stride),
                           0, pages.count - 1);
    return data + page * tensor.batch +
           (j - slot * static_cast<int>(pages.page_size.divisor)) * tensor.row;
  }
};

/**
 * Calls f(row, chunk) for the chunks of a tile that fall to this thread; the same ones every time.
 * Panel by panel, so that neighbours read a whole line, and a thread's chunks lie a fixed distance
 * apart on either side.
 */
template <class Tile, int kThreads, bool kUnrolled = true, class F>
PTX_FN void for_each_chunk(F f) {
  constexpr int kRowsAtOnce = kThreads / Tile::kPanelChunks;
  static_assert(Tile::kRows % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0);
  const int thread = this_thread();
  const int row = thread / Tile::kPanelChunks, chunk = thread % Tile::kPanelChunks;
#pragma unroll kUnrolled ? Tile::kRows : 1
  for (int r = 0; r < Tile::kRows; r += kRowsAtOnce) {
#pragma unroll kUnrolled ? Tile::kChunks : 1
    for (int c = 0; c < Tile::kChunks; c += Tile::kPanelChunks) f(row + r, chunk + c);
  }
}

/** Sixteen bytes of a row, element by element, zeros from `columns` on. */
template <class T>
PTX_FN uint4 gather_chunk(const T* row, int64_t dim_stride, int column, int columns) {
  uint32_t words[4] = {};
  constexpr int kElements = kChunkBytes / static_cast<int>(sizeof(T));
#pragma unroll
  for (int e = 0; e < kElements; ++e) {
    if (column + e >= columns) continue;
    const T* const at = row + (column + e) * dim_stride;
    if constexpr (sizeof(T) == 4)
      words[e] = ptx::float_bits(ptx::ldg(at));
    else
      words[e / 2] |= uint32_t{ptx::ldg(at).bits} << (16 * (e % 2));
  }
  return {words[0], words[1], words[2], words[3]};
}

/**
 * Rows 0 .. rows - 1 of a tile from source(row), zeros elsewhere; `columns` is the head dim.
 * Asynchronous where rows are aligned (the caller commits and waits); kGather: where they are not,
 * element by element.
 */
template <class Tile, class T, int kThreads, bool kGather, class Source>
PTX_FN void load_tile(uint32_t tile, int rows, int columns, bool aligned, int64_t dim_stride,
                      Source source) {
  const auto inside = [&](int row, int chunk) {
    return row < rows && chunk * Tile::kChunkElements < columns;
  };
  if (!kGather || aligned) {
    for_each_chunk<Tile, kThreads>([&](int row, int chunk) {
      const bool loaded = inside(row, chunk);
      // What is not loaded is not read; but only in a plain kernel may its address be worked out.
      ptx::cp_async16(tile + Tile::offset(row, chunk),
                      !kGather || loaded
                          ? reinterpret_cast<const char*>(source(row)) + chunk * kChunkBytes
                          : nullptr,
                      loaded);
    });
  } else {
    // Seldom: one copy of the code, no registers for addresses.
    for_each_chunk<Tile, kThreads, false>([&](int row, int chunk) {
      ptx::sts<uint4>(tile + Tile::offset(row, chunk),
                      inside(row, chunk)
                          ? gather_chunk<T>(reinterpret_cast<const T*>(source(row)), dim_stride,
                                            chunk * Tile::kChunkElements, columns)
                          : uint4{});
    });
  }
}

}  // namespace fa::cuda
