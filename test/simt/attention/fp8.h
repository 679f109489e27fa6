// The pass over float8 (e4m3): against float64 on what its operands stand for.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "problem.h"

namespace simt_test {

/** Where the rows of sequences lie: in a batch, packed one after the other, or in pages. */
struct SequenceLayout {
  struct Place {
    int64_t outer, row;  // axes 0 and 1
  };
  bool packed = false;
  int page_size = 0;  // 0: not paged
  int longest = 0;
  int64_t pages_of_each = 0;
  std::vector<int32_t> lengths, begins = {0}, pages = {};

  SequenceLayout(const Spec& spec, bool keys);
  Place place(int64_t sequence, int64_t row) const;
};

/** Codes in device memory, and what they stand for. */
class Float8Tensor {
 public:
  struct Range {
    double lowest, highest;  // of values, in units of 64 scales
  };
  Float8Tensor(const SequenceLayout& layout, int64_t heads, int64_t dim, Range range,
               std::mt19937_64& random);

  fa::View view;
  fa::View scales;  // [sequences, heads, blocks]; of pages [sequences, heads], alike for all

  uint8_t& code(int64_t sequence, int64_t row, int64_t head, int64_t dim) const;
  double scale(int64_t sequence, int64_t row, int64_t head) const;
  /** Scale included. */
  double at(int64_t sequence, int64_t row, int64_t head, int64_t dim) const;

 private:
  const SequenceLayout& layout_;
  std::unique_ptr<DeviceMemory> codes_, scale_memory_;
};

/** A call on float8. Reads of its scales are watched: plans leave them out. */
class Float8Problem {
 public:
  Float8Problem(const Spec& spec, uint64_t seed);
  Float8Problem(const Float8Problem&) = delete;

  fa::AttentionProblem device;

  /** The first of the results that is not what it should be; empty when all are. */
  std::string wrong_values() const;

 private:
  Spec spec_;
  std::mt19937_64 random_;
  SequenceLayout queries_, keys_;
  Float8Tensor q_, k_, v_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
};

std::vector<Spec> forward_fp8_cases();

/** What a case notices; empty when nothing is wrong. */
std::string run_forward_fp8(const Spec& spec, uint64_t seed);

}  // namespace simt_test
