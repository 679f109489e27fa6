#include "cuda/runtime/split_choice.h"

#include <algorithm>

#include "core/divide.h"

namespace fa::cuda {

namespace {

constexpr int64_t kFewTiles = 4;      // too few for a split to be worth its merge
constexpr double kFullDevice = 0.8;   // share of the device's places that is busy enough
constexpr double kGoodEnough = 0.85;  // of the best speed that any number of splits reaches
constexpr int64_t kMostWaves = 4;     // that splits may fill

int64_t blocks_of(const std::vector<SequenceWork>& work, int64_t share) {
  int64_t blocks = 0;
  for (const SequenceWork& w : work) blocks += w.blocks * splits_by_share(w.longest, share);
  return blocks;
}

/** The least share with which all blocks run in so many places; `longest` is enough for that. */
int64_t least_share(const std::vector<SequenceWork>& work, int64_t longest, int64_t places) {
  int64_t low = 1, high = longest;
  while (low < high) {
    const int64_t share = (low + high) / 2;
    if (blocks_of(work, share) <= places)
      high = share;
    else
      low = share + 1;
  }
  return low;
}

}  // namespace

int64_t most_blocks(int64_t blocks, int64_t places, bool alike) {
  return std::max<int64_t>(blocks + (alike ? 1 : 2) * places, kMostWaves * places);
}

int splits_by_share(int64_t longest, int64_t share) {
  if (longest <= kFewTiles) return 1;
  return static_cast<int>(std::clamp<int64_t>(ceil_div(longest, share), 1, kMaxAutoSplits));
}

int64_t share_of(const std::vector<SequenceWork>& work, int64_t places) {
  int64_t blocks = 0, longest = 1, total = 0;
  for (const SequenceWork& w : work) {
    blocks += w.blocks;
    longest = std::max(longest, w.longest);
    total += w.total;
  }
  if (longest <= kFewTiles) return longest;
  const double full = kFullDevice * static_cast<double>(places);
  if (static_cast<double>(blocks) >= full)
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(total) / full) + 1);

  int64_t shares[kMostWaves];
  int64_t best = longest;
  for (int64_t waves = 1; waves <= kMostWaves; ++waves) {
    shares[waves - 1] = least_share(work, longest, waves * places);
    best = std::min(best, waves * shares[waves - 1]);
  }
  int64_t waves = 1;
  while (static_cast<double>(waves * shares[waves - 1]) * kGoodEnough > static_cast<double>(best))
    ++waves;
  return shares[waves - 1];
}

}  // namespace fa::cuda
