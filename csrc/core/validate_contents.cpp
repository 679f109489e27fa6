// What index tensors hold. Entries that no kernel looks at are not looked at here either.
#include <algorithm>

#include "core/divide.h"
#include "core/expect.h"
#include "core/validate.h"

namespace fa {

namespace {

std::string text(int64_t number) { return std::to_string(number); }

std::string range(int64_t last) { return "0 to " + text(last); }

void validate_cu_seqlens(const View& cu, int64_t total, int64_t longest, const char* argument,
                         const char* longest_name) {
  const int32_t* data = int32_data(cu);
  const int64_t n = cu.shape[0], stride = cu.strides[0];
  if (data[0] != 0) refuse_entry(argument, at(0), "0", data[0]);
  for (int64_t i = 1; i < n; ++i) {
    const int64_t previous = data[(i - 1) * stride], current = data[i * stride];
    if (current < previous)
      refuse(ErrorCode::kShape, argument, "ascending",
             text(current) + " after " + text(previous) + " at index " + text(i));
    if (current - previous > longest)
      refuse(ErrorCode::kOption, longest_name,
             "at least the longest sequence, " + text(current - previous) + ",", text(longest));
  }
  const int64_t last = data[(n - 1) * stride];
  if (last > total)
    refuse_entry(argument, at(n - 1), "at most the " + text(total) + " packed tokens", last);
}

/** Of float8 q or k that are packed: every block of a sequence has a scale. */
void validate_scaled_blocks(const View& scales, int64_t longest, const char* argument) {
  const int64_t blocks = ceil_div(longest, kScaleTokens);
  if (scales.rank != 3 || blocks <= scales.shape[2]) return;
  refuse(ErrorCode::kShape, argument,
         "of at least " + text(blocks) + " blocks of " + text(kScaleTokens) +
             " tokens, for a sequence of " + text(longest) + ",",
         "shape " + shape_text(scales));
}

void validate_packed_scales(const AttentionProblem& p) {
  int64_t longest_q = 0, longest_k = 0;
  for (int64_t b = 0; b < p.batch(); ++b) {
    const Sequence s = sequence(p, b);
    longest_q = std::max(longest_q, s.seqlen_q);
    longest_k = std::max(longest_k, s.seqlen_k);
  }
  validate_scaled_blocks(p.q_scale, longest_q, "scales.q");
  validate_scaled_blocks(p.k_scale, longest_k, "scales.k");
}

void validate_seqlens(const AttentionProblem& p) {
  const int32_t* data = int32_data(p.seqlens_k);
  for (int64_t b = 0; b < p.batch(); ++b) {
    const int64_t length = data[b * p.seqlens_k.strides[0]];
    if (length < 0 || length > p.max_seqlen_k)
      refuse_entry("seqlensK", at(b), range(p.max_seqlen_k), length);
  }
}

void validate_first_positions(const AttentionProblem& p) {
  for (int64_t b = 0; b < p.batch(); ++b) {
    const Sequence s = sequence(p, b);
    const int64_t last = kMaxSeqlen - s.seqlen_q;
    if (s.first_position < -kMaxSeqlen || s.first_position > last)
      refuse(ErrorCode::kOption, "firstPositions",
             "of positions from " + text(-kMaxSeqlen) + " to " + text(last),
             text(s.first_position) + " at " + at(b));
  }
}

/** Windows count on a tree's tokens standing behind all that is committed. */
void validate_positions(const AttentionProblem& p) {
  const int32_t* positions = int32_data(p.positions);
  for (int64_t b = 0; b < p.batch(); ++b) {
    const Sequence s = sequence(p, b);
    if (!p.tree(s.seqlen_q)) continue;
    const int64_t committed = s.seqlen_k - s.seqlen_q;
    if (committed < 0)
      refuse_entry("seqlensK", at(b), "at least the tree's " + text(s.seqlen_q) + " tokens",
                   s.seqlen_k);
    for (int64_t i = s.q_begin; i < s.q_begin + s.seqlen_q; ++i) {
      const int64_t position = positions[i * p.positions.strides[0]];
      if (position < committed || position >= s.seqlen_k)
        refuse_entry("positions", at(i),
                     "within the tree, " + text(committed) + " to " + text(s.seqlen_k - 1) + ",",
                     position);
    }
  }
}

/** Whether [0, count) holds all of them: a loop that is vectorised, for tables are long. */
bool all_below(const int32_t* numbers, int64_t n, int64_t count) {
  uint32_t greatest = 0;
  for (int64_t i = 0; i < n; ++i) greatest = std::max(greatest, static_cast<uint32_t>(numbers[i]));
  return n == 0 || greatest < count;
}

void validate_page_table(const AttentionProblem& p) {
  const int32_t* table = int32_data(p.page_table);
  const int64_t page_size = p.k.shape[1], pages = p.k.shape[0];
  for (int64_t b = 0; b < p.batch(); ++b) {
    const int64_t used = (sequence(p, b).seqlen_k + page_size - 1) / page_size;
    const int32_t* const row = table + b * p.page_table.strides[0];
    if (p.page_table.strides[1] == 1 && all_below(row, used, pages)) continue;
    for (int64_t i = 0; i < used; ++i) {
      const int64_t page = table[b * p.page_table.strides[0] + i * p.page_table.strides[1]];
      if (page < 0 || page >= pages)
        refuse_entry("pageTable", at(b) + at(i), "a page, " + range(pages - 1) + ",", page);
    }
  }
}

void validate_cells(const BlockMaskView& block_mask) {
  const View& t = block_mask.table;
  const int64_t last = 1 + (block_mask.bits.present() ? block_mask.bits.shape[0] : 0);
  const int32_t* cells = int32_data(t);
  for (int64_t b = 0; b < t.shape[0]; ++b)
    for (int64_t h = 0; h < t.shape[1]; ++h)
      for (int64_t r = 0; r < t.shape[2]; ++r)
        for (int64_t c = 0; c < t.shape[3]; ++c) {
          const int64_t cell =
              cells[b * t.strides[0] + h * t.strides[1] + r * t.strides[2] + c * t.strides[3]];
          if (cell < 0 || cell > last)
            refuse(ErrorCode::kShape, "blockMask", "a table of cells from " + range(last),
                   text(cell));
        }
}

}  // namespace

void validate_contents(const AttentionProblem& p) {
  if (p.packed_queries())
    validate_cu_seqlens(p.cu_seqlens_q, p.q.shape[1], p.max_seqlen_q, "cuSeqlensQ", "maxSeqlenQ");
  if (p.packed_keys())
    validate_cu_seqlens(p.cu_seqlens_k, p.k.shape[1], p.max_seqlen_k, "cuSeqlensK", "maxSeqlenK");
  if (p.seqlens_k.present()) validate_seqlens(p);
  if (p.first_positions.present()) validate_first_positions(p);
  if (p.paged()) validate_page_table(p);
  if (p.float8() && p.packed_queries()) validate_packed_scales(p);
  if (p.tree_mask.present()) validate_positions(p);
  if (p.block_mask.present()) validate_cells(p.block_mask);
}

void validate_contents(const Quantized& quantized) {
  if (quantized.packed())
    validate_cu_seqlens(quantized.cu_seqlens, quantized.values.shape[1], quantized.max_seqlen,
                        "cuSeqlens", "maxSeqlen");
}

}  // namespace fa
