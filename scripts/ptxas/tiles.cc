// Prints what ptxas cannot know of the tiled kernels, a line of JSON each: threads and dynamic
// shared memory of a block.
#include <cstdio>
#include <initializer_list>

#include "cuda/sm90/backward_tiles.h"
#include "cuda/sm90/forward_tiles.h"

// Both name their tables alike, and never meet in one kernel.
namespace forward {
#include "cuda/sm80/decode_tiles.h"
#include "cuda/sm80/forward_tiles.h"
#include "cuda/sm80/mla_tiles.h"
}  // namespace forward
namespace backward {
namespace fa::cuda {
using ::fa::cuda::kRowStateBytes;
}
#include "cuda/sm80/backward_tiles.h"
}  // namespace backward
using namespace forward::fa::cuda::sm80;
using namespace backward::fa::cuda::sm80;

namespace {

namespace sm90 = fa::cuda::sm90;

template <int kTiles>
void print_forward_sm90(const char* type, int bytes, sm90::ForwardVariant variant,
                        const sm90::ForwardTile (&tiles)[kTiles]) {
  for (const sm90::ForwardTile& tile : tiles)
    std::printf(
        "{\"kernel\":\"sm90::forward<ForwardTraits<%s, %d, %d, (fa::cuda::sm90::ForwardVariant)%d> "
        ">\","
        "\"threads\":%d,\"shared\":%d}\n",
        type, tile.width, tile.width_v, static_cast<int>(variant), tile.threads(),
        sm90::forward_shared_bytes(tile, bytes));
}

void print_sm90() {
  for (const char* type : {"ptx::f16", "ptx::bf16"}) {
    print_forward_sm90(type, 2, sm90::ForwardVariant::kPlain, sm90::kPlainTiles);
    print_forward_sm90(type, 2, sm90::ForwardVariant::kFeatured, sm90::kFeaturedTiles);
    for (const char* flag : {"false", "true"})
      for (const sm90::BackwardTile& tile : sm90::kBackwardTiles)
        std::printf(
            "{\"kernel\":\"sm90::backward_kernel<%s, %d, %s>\",\"threads\":%d,\"shared\":%d}\n",
            type, tile.width, flag, tile.threads(), sm90::backward_shared_bytes(tile));
  }
  print_forward_sm90("ptx::e4m3", 1, sm90::ForwardVariant::kFp8, sm90::kFp8Tiles);
}

}  // namespace

int main() {
  print_sm90();
  for (const char* type : {"ptx::f16", "ptx::bf16"})
    for (const MlaTile& tile : kMlaTiles)
      std::printf("{\"kernel\":\"mla<%s, %d>\",\"threads\":%d,\"shared\":%d}\n", type, tile.rows,
                  32 * tile.warps, mla_shared_bytes(tile));
  for (const DecodeTile& tile : kDecodeCodeTiles)
    std::printf("{\"kernel\":\"decode<fa::cuda::Code, %d, true>\",\"threads\":%d,\"shared\":%d}\n",
                tile.width, 32 * kDecodeWarps, decode_shared_bytes(true, tile));
  struct Type {
    const char* name;
    int bytes;
  };
  for (const Type type : {Type{"ptx::f16", 2}, Type{"ptx::bf16", 2}, Type{"float", 4}}) {
    const bool float32 = type.bytes == 4;
    for (const bool featured : {false, true}) {
      if (float32 && !featured) continue;
      const char* const flag = featured ? "true" : "false";
      for (const int width : {32, 64, 96, 128, 192, 256}) {
        const ForwardTile tile = forward_tile(float32, featured, width);
        std::printf("{\"kernel\":\"forward<%s, %d, %s>\",\"threads\":%d,\"shared\":%d}\n",
                    type.name, tile.width, flag, 32 * tile.warps,
                    forward_shared_bytes(tile, type.bytes));
      }
      for (const DecodeTile& tile : kDecodeTiles) {
        if (float32) continue;
        std::printf("{\"kernel\":\"decode<%s, %d, %s>\",\"threads\":%d,\"shared\":%d}\n", type.name,
                    tile.width, flag, 32 * kDecodeWarps, decode_shared_bytes(false, tile));
      }
      for (const Outer outer : {Outer::kKeys, Outer::kQueries}) {
        const BackwardTiles tiles = backward_tiles(float32, outer, featured);
        for (int i = 0; i < tiles.count; ++i) {
          const BackwardTile& tile = tiles.tiles[i];
          std::printf(
              "{\"kernel\":\"backward_kernel<%s, (fa::cuda::sm80::Outer)%d, %s, %d>\","
              "\"threads\":%d,\"shared\":%d}\n",
              type.name, static_cast<int>(outer), flag, i, 32 * tile.warps(),
              backward_shared_bytes(tile, outer, type.bytes));
        }
      }
    }
  }
}
