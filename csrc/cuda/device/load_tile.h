// Copies of rows from global memory into shared tiles.
#pragma once

#include "cuda/device/element.h"
#include "cuda/device/sequence.h"
#include "cuda/device/shared_tile.h"

namespace fa::cuda {

PTX_FN bool not_finite(float x) { return (ptx::float_bits(x) & 0x7f800000u) == 0x7f800000u; }

/** Where a key of a sequence lies in pages. */
struct KeyPlace {
  int page, row;

  PTX_FN KeyPlace(const Pages& pages, int sequence, int j) {
    const int slot = pages.page_size.quotient(j);
    page = clamp(ptx::ldg(pages.table + sequence * pages.batch_stride + slot * pages.stride), 0,
                 pages.count - 1);
    row = j - slot * static_cast<int>(pages.page_size.divisor);
  }
};

PTX_FN float row_scale(const RowScales& scales, const KeyPlace& at, int kv_head) {
  return ptx::ldg(scales.data + at.page * scales.page + at.row * scales.row +
                  kv_head * scales.head);
}

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
    const KeyPlace at(pages, batch, j);
    return data + at.page * tensor.batch + at.row * tensor.row;
  }

  PTX_FN T element(int j, int column) const { return ptx::ldg(row(j) + column * tensor.dim); }
};

/**
 * The same of pages of another dtype than T, which holds all that they do. Of a row without a
 * finite scale all elements are NaN.
 */
template <class T>
struct ConvertedRows {
  const AttentionParams& p;
  const Tensor& tensor;
  const RowScales& scales;
  int batch, kv_head;

  struct Row {
    const char* data;
    bool finite;
  };

  PTX_FN Row row(int j) const {
    const KeyPlace at(p.pages, batch, j);
    const int64_t first = at.page * tensor.batch + at.row * tensor.row + kv_head * tensor.head;
    const float scale = scales.data == nullptr ? 0.f : row_scale(scales, at, kv_head);
    return {static_cast<const char*>(tensor.data) + first * element_size(p.key_dtype),
            !not_finite(scale)};
  }
  PTX_FN T element(const Row& row, int column) const {
    const char* const at = row.data + column * tensor.dim * element_size(p.key_dtype);
    return ptx::from_float<T>(row.finite ? load_element(at, p.key_dtype)
                                         : ptx::float_from_bits(0x7fc00000u));
  }
  PTX_FN T element(int j, int column) const { return element(row(j), column); }
};

/**
 * Calls f(row, chunk) for the chunks of a tile that fall to this thread of the block, or of its
 * warp where kThreads is 32; the same ones every time. Panel by panel, so that neighbours read a
 * whole line, and a thread's chunks lie a fixed distance apart on either side.
 */
template <class Tile, int kThreads, bool kUnrolled = true, class F>
PTX_FN void for_each_chunk(F f) {
  constexpr int kRowsAtOnce = kThreads / Tile::kPanelChunks;
  static_assert(Tile::kRows % kRowsAtOnce == 0);
  const int thread = kThreads == 32 ? this_thread() % 32 : this_thread();
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

/**
 * Rows key0 .. key0 + rows - 1 of pages that are converted, likewise. Not inlined: the kernels that
 * call it have no registers to spare for it.
 */
template <class Tile, class T, int kThreads>
PTX_COLD void load_converted_tile(uint32_t tile, int key0, int rows, int columns,
                                  const ConvertedRows<T>& source) {
  for_each_chunk<Tile, kThreads, false>([&](int row, int chunk) {
    const uint32_t to = tile + Tile::offset(row, chunk);
    const int column0 = chunk * Tile::kChunkElements;
    if (row >= rows || column0 >= columns) return ptx::sts<uint4>(to, uint4{});
    const typename ConvertedRows<T>::Row from = source.row(key0 + row);
#pragma unroll 1
    for (int e = 0; e < Tile::kChunkElements; ++e)
      ptx::sts<T>(to + static_cast<uint32_t>(e * static_cast<int>(sizeof(T))),
                  column0 + e < columns ? source.element(from, column0 + e) : T{});
  });
}

}  // namespace fa::cuda
