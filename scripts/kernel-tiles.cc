// Prints what ptxas cannot know of the tiled kernels, a line of JSON each: threads and dynamic shared memory of a block.
#include <cstdio>
#include <initializer_list>

// Both name their tables alike, and never meet in one kernel.
namespace forward {
#include "cuda/sm80/forward_tiles.h"
}
namespace backward {
#include "cuda/sm80/backward_tiles.h"
}
using namespace forward::fa::cuda::sm80;
using namespace backward::fa::cuda::sm80;

int main() {
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
