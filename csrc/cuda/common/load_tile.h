// Copies of rows from global memory into shared tiles.
#pragma once

#include "cuda/common/sequence.h"
#include "cuda/common/shared_tile.h"

namespace fa::cuda {

/** Rows of one head: row r is at data + r * stride bytes. */
struct HeadRows {
  const char* data;
  int64_t stride;
  int64_t element_stride;  // bytes

  PTX_FN const char* row(int r) const { return data + r * stride; }
};

/** The same, of keys or values that may lie in pages. */
struct KeyRows {
  HeadRows rows;
  const int32_t* pages;  // of this sequence; null: not paged
  int64_t pages_stride, page_stride;
  int page_count;
  FastDivide page_size;

  PTX_FN const char* row(int j) const {
    if (pages == nullptr) return rows.row(j);
    const int slot = page_size.quotient(j);
    const int page = clamp(ptx::ldg(pages + slot * pages_stride), 0, page_count - 1);
    return rows.row(j - slot * static_cast<int>(page_size.divisor)) + page * page_stride;
  }
};

template <class T>
PTX_FN KeyRows key_rows(const AttentionParams& p, const Tensor& tensor, const SequenceRows& s,
                        int batch, int kv_head) {
  constexpr int64_t kSize = sizeof(T);
  const bool paged = p.pages.table != nullptr;
  int64_t first = kv_head * tensor.head;
  if (!paged) first += s.k_batch * tensor.batch + s.k_begin * tensor.row;
  return {{static_cast<const char*>(tensor.data) + first * kSize, tensor.row * kSize,
           tensor.dim * kSize},
          paged ? p.pages.table + batch * p.pages.batch_stride : nullptr,
          p.pages.stride,
          tensor.batch * kSize,
          p.pages.count,
          p.pages.page_size};
}

/** Calls f(row, chunk) for the chunks of a tile that fall to this thread; the same ones every time. */
template <class Tile, int kThreads, class F>
PTX_FN void for_each_chunk(F f) {
  constexpr int kTotal = Tile::kRows * Tile::kChunks;
#pragma unroll
  for (int first = 0; first < kTotal; first += kThreads) {
    const int index = first + static_cast<int>(threadIdx.x);
    if (kTotal % kThreads == 0 || index < kTotal) f(index / Tile::kChunks, index % Tile::kChunks);
  }
}

/** Sixteen bytes of a row, element by element, zeros from `columns` on. */
template <class T>
PTX_FN uint4 gather_chunk(const char* row, int64_t element_stride, int column, int columns) {
  uint32_t words[4] = {};
  constexpr int kElements = kChunkBytes / static_cast<int>(sizeof(T));
#pragma unroll
  for (int e = 0; e < kElements; ++e) {
    if (column + e >= columns) continue;
    const T* const at = reinterpret_cast<const T*>(row + (column + e) * element_stride);
    if constexpr (sizeof(T) == 4)
      words[e] = ptx::float_bits(ptx::ldg(at));
    else
      words[e / 2] |= uint32_t{ptx::ldg(at).bits} << (16 * (e % 2));
  }
  return {words[0], words[1], words[2], words[3]};
}

/**
 * Rows 0 .. rows - 1 of a tile from source(row), zeros elsewhere; `columns` is the head dim. Asynchronous where rows are
 * aligned (the caller commits and waits); kGather: where they are not, element by element.
 */
template <class Tile, class T, int kThreads, bool kGather, class Source>
PTX_FN void load_tile(uint32_t tile, int rows, int columns, bool aligned, int64_t element_stride,
                      Source source) {
  for_each_chunk<Tile, kThreads>([&](int row, int chunk) {
    const int column = chunk * Tile::kChunkElements;
    const bool inside = row < rows && column < columns;
    const uint32_t to = tile + Tile::offset(row, chunk);
    if (!kGather || aligned)
      ptx::cp_async16(to, inside ? source(row) + chunk * kChunkBytes : nullptr, inside);
    else
      ptx::sts<uint4>(to, inside ? gather_chunk<T>(source(row), element_stride, column, columns)
                                 : uint4{});
  });
}

}  // namespace fa::cuda
