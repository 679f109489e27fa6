// Copies of rows from global memory into shared tiles.
#pragma once

#include "cuda/device/codes.h"
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

  /** Whether rows are codes of 8 bits, chunks of which can be read at once. The same for all. */
  PTX_FN bool in_chunks() const {
    const auto first = static_cast<int64_t>(reinterpret_cast<uintptr_t>(tensor.data));
    return sizeof(T) == 2 && is_code(p.key_dtype) && tensor.dim == 1 &&
           (first | tensor.batch | tensor.row | tensor.head) % kCodes == 0;
  }
  /** Elements column to column + kCodes - 1 of such a row, as they lie in memory. */
  PTX_FN uint2 codes(const Row& row, int column) const {
    return ptx::ldg(reinterpret_cast<const uint2*>(row.data + column));
  }
  /** What they stand for, without the row's scale. */
  PTX_FN uint4 elements(uint2 codes, bool finite) const {
    const uint2 low = widened(codes.x), high = widened(codes.y);
    if (finite) return {low.x, low.y, high.x, high.y};
    const float nan = ptx::float_from_bits(0x7fc00000u);
    const uint32_t nans = ptx::pack2<T>(nan, nan);
    return {nans, nans, nans, nans};
  }

  static constexpr int kCodes = 8;

 private:
  /** Four codes of a word as elements, in their order. */
  PTX_FN uint2 widened(uint32_t word) const {
    uint32_t pair[2];  // elements 0 and 2, 1 and 3
    if (p.key_dtype == static_cast<int>(DType::kFloat8E4M3))
      widen<true>(pair, word);
    else
      widen<false>(pair, word);
    const float2 even = ptx::unpack2<ptx::f16>(pair[0]), odd = ptx::unpack2<ptx::f16>(pair[1]);
    return {ptx::pack2<T>(even.x, odd.x), ptx::pack2<T>(even.y, odd.y)};
  }
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

/** As load_converted_tile, of codes in chunks. All reads come first, so that they overlap. */
template <class Tile, class T, int kThreads>
PTX_FN void load_codes_tile(uint32_t tile, int key0, int rows, int columns,
                            const ConvertedRows<T>& source) {
  static_assert(Tile::kChunkElements == ConvertedRows<T>::kCodes);
  constexpr int kCount = Tile::kRows * Tile::kChunks / kThreads;
  uint2 codes[kCount];
  bool finite[kCount];
  int n = 0;
  for_each_chunk<Tile, kThreads>([&](int row, int chunk) {
    const int column = chunk * Tile::kChunkElements;
    codes[n] = {};  // which stand for 0
    finite[n] = true;
    if (row < rows && column < columns) {
      const typename ConvertedRows<T>::Row from = source.row(key0 + row);
      codes[n] = source.codes(from, column);
      finite[n] = from.finite;
    }
    ++n;
  });
  n = 0;
  for_each_chunk<Tile, kThreads>([&](int row, int chunk) {
    ptx::sts<uint4>(tile + Tile::offset(row, chunk), source.elements(codes[n], finite[n]));
    ++n;
  });
}

/**
 * Rows key0 .. key0 + rows - 1 of pages that are converted, likewise. Not inlined: the kernels that
 * call it have no registers to spare for it.
 */
template <class Tile, class T, int kThreads>
PTX_COLD void load_converted_tile(uint32_t tile, int key0, int rows, int columns,
                                  const ConvertedRows<T>& source) {
  if constexpr (sizeof(T) == 2) {
    if (columns % ConvertedRows<T>::kCodes == 0 && source.in_chunks())
      return load_codes_tile<Tile, T, kThreads>(tile, key0, rows, columns, source);
  }
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
