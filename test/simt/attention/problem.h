// A small attention problem with its inputs on the host (rounded to the dtype, as float64) and in
// device memory.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/attention.h"

namespace simt_test {

/** What a case asks for. Sizes are those of design's logical axes. */
struct Spec {
  const char* name;
  fa::DType dtype = fa::DType::kFloat16;
  int batch = 1, heads = 2, kv_heads = 2;
  int seqlen_q = 0, seqlen_k = 0;
  int head_dim = 64, head_dim_v = 64;
  bool causal = false;
  int window_left = -1, window_right = -1;  // -1: unbounded
  int sink_tokens = 0;
  float softcap = 0;
  bool alibi = false, bias = false, bool_mask = false, sinks = false, block_mask = false;
  double dropout = 0;
  bool varlen = false;                            // sequences of different lengths, packed
  std::vector<std::pair<int, int>> lengths = {};  // of queries and keys, where they are told
  bool seqlens_k = false;                         // as many keys as a tensor says
  int page_size = 0;                              // 0: not paged
  bool latents = false;                           // values are the first dims of their keys
  bool int8_pages = false;                        // values of rows between 2^-6 and 2^6
  bool float8_pages = false;
  int num_splits = 1;
  bool far_scales = false;   // of values in 8 bits: 2^-14, from key 256 on 1, then 2^4 and 2^-20
  bool spare_items = false;  // the list is longer than the work, as that of a graph
  bool poison_v = false, poison_dout = false;  // infinities and NaN among the values
  bool poison_codes = false;                   // NaN among the codes of values, and their scales
  bool poison_key = false;                     // NaN in one key
  bool poison_query = false;                   // NaN in one query, and infinity in a row of dOut
  bool poison_last = false;                    // the last sequence of the batch is all NaN
  bool equal_scores = false;                   // all 0, so that no maximum ever moves
  bool extreme_scores = false;                 // of three queries, beyond base 2's range; bfloat16
  bool deterministic = true;                   // backward
  bool far_rows = false;  // with bias: every third query's is large enough to make it extreme
  // The first columns of all keys are one number, so that theirs of dQ are sums which cancel
  // (derivatives of a row's scores add up to 0): what is left is rounding, and its bits tell the
  // order of the additions.
  int equal_columns = 0;
};

/** Memory that a kernel may touch, in the executor's registry of allocations. */
class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_;
};

/** One sequence of the batch. Arrays are [row][head][dim]. */
struct HostSequence {
  int seqlen_q = 0, seqlen_k = 0;
  std::vector<double> q, k, v, dout;
};

class Problem {
 public:
  Problem(const Spec& spec, uint64_t seed);

  const Spec& spec() const { return spec_; }
  double scale() const { return device.scale; }
  bool sees(int batch, int head, int i, int j) const;
  /** Added to the score; 0 without bias or ALiBi. */
  double bias(int batch, int head, int i, int j) const;
  bool kept(int batch, int head, int i, int j) const;  // by dropout

  std::vector<HostSequence> sequences;
  std::vector<double> sinks;  // [heads]
  fa::AttentionProblem device;
  fa::AttentionGradients gradients;

  /** Copies what the reference says of the forward pass to the device, for the backward pass. */
  void set_forward_results(const std::vector<std::vector<double>>& out,
                           const std::vector<std::vector<double>>& lse);

  /**
   * Elements of a device tensor [batch, row, head, dim] that belong to a sequence, as
   * [row][head][dim].
   */
  std::vector<double> read_rows(const fa::View& view, int batch, bool keys) const;
  /** lse of a sequence, [row][head]. */
  std::vector<double> read_lse(int batch) const;
  std::vector<double> read(const fa::View& view) const;

 private:
  fa::View allocate(fa::DType dtype, std::initializer_list<int64_t> shape);
  void make_inputs(uint64_t seed);
  void make_options(uint64_t seed);
  void place_rows(const fa::View& view, bool keys, std::vector<double> HostSequence::*rows);
  void place_codes(const fa::View& codes, const fa::View& scales,
                   std::vector<double> HostSequence::*rows);
  int64_t element(const fa::View& view, int batch, bool keys, int row, int head, int dim) const;

  Spec spec_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  std::vector<double> alibi_, bias_, block_mask_;  // [heads], [heads][i][j], [bq][bk]
  std::vector<int32_t> pages_;
};

double read_element(const fa::View& view, int64_t index);
void write_element(const fa::View& view, int64_t index, double value);

}  // namespace simt_test
