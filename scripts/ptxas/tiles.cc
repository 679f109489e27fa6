// Prints what ptxas cannot know of the tiled kernels, a line of JSON each: rows and keys of a tile,
// threads and dynamic shared memory of a block.
#include <cstdio>
#include <initializer_list>
#include <string>

#include "cuda/sm80/mla_tiles.h"
#include "cuda/sm90/backward_tiles.h"
#include "cuda/sm90/forward_tiles.h"
#include "cuda/sm90/mla_tiles.h"

// Both name their tables alike, and never meet in one kernel.
namespace forward {
#include "cuda/sm80/decode_tiles.h"
#include "cuda/sm80/forward_tiles.h"
}  // namespace forward
namespace backward {
namespace fa::cuda {
using ::fa::cuda::kRowStateBytes;
}
#include "cuda/sm80/backward_tiles.h"
}  // namespace backward
using namespace forward::fa::cuda::sm80;
using namespace backward::fa::cuda::sm80;
using namespace fa::cuda::sm80;

namespace {

namespace sm90 = fa::cuda::sm90;
using std::to_string;

void print(const std::string& kernel, int rows, int keys, int threads, int shared) {
  std::printf("{\"kernel\":\"%s\",\"tile\":\"%d x %d\",\"threads\":%d,\"shared\":%d}\n",
              kernel.c_str(), rows, keys, threads, shared);
}

template <int kTiles>
void print_forward_sm90(const std::string& type, int bytes, sm90::ForwardVariant variant,
                        const sm90::ForwardTile (&tiles)[kTiles]) {
  for (const sm90::ForwardTile& tile : tiles)
    print("sm90::forward<ForwardTraits<" + type + ", " + to_string(tile.width) + ", " +
              to_string(tile.width_v) + ", (fa::cuda::sm90::ForwardVariant)" +
              to_string(static_cast<int>(variant)) + "> >",
          tile.rows(), tile.keys, tile.threads(), sm90::forward_shared_bytes(tile, bytes));
}

void print_sm90() {
  for (const std::string type : {"ptx::f16", "ptx::bf16"}) {
    print_forward_sm90(type, 2, sm90::ForwardVariant::kPlain, sm90::kPlainTiles);
    print_forward_sm90(type, 2, sm90::ForwardVariant::kFeatured, sm90::kFeaturedTiles);
    print("sm90::mla<" + type + ", " + to_string(fa::cuda::sm80::kMlaWidth) + ">", sm90::kMlaRows,
          sm90::kMlaKeys, sm90::kMlaThreads, sm90::mla_shared_bytes());
    for (const char* flag : {"false", "true"})
      for (const sm90::BackwardTile& tile : sm90::kBackwardTiles)
        print("sm90::backward_kernel<" + type + ", " + to_string(tile.width) + ", " + flag + ">",
              tile.queries, tile.keys, tile.threads(), sm90::backward_shared_bytes(tile));
  }
  print_forward_sm90("ptx::e4m3", 1, sm90::ForwardVariant::kFp8, sm90::kFp8Tiles);
}

void print_decode(const std::string& type, const DecodeTile& tile, const std::string& flag) {
  const bool codes = type == "fa::cuda::Code";
  print("decode<" + type + ", " + to_string(tile.width) + ", " + flag + ">", kDecodeRows,
        tile.keys * kDecodeWarps, 32 * kDecodeWarps, decode_shared_bytes(codes, tile));
}

void print_backward(const std::string& type, int bytes, Outer outer, bool featured) {
  const BackwardTiles all = backward_tiles(bytes == 4, outer, featured);
  for (int i = 0; i < all.count; ++i) {
    const BackwardTile& tile = all.tiles[i];
    const bool keys = outer == Outer::kKeys;
    print("backward_kernel<" + type + ", (fa::cuda::sm80::Outer)" +
              to_string(static_cast<int>(outer)) + ", " + (featured ? "true" : "false") + ", " +
              to_string(i) + ">",
          keys ? tile.inner : tile.outer, keys ? tile.outer : tile.inner, 32 * tile.warps(),
          backward_shared_bytes(tile, outer, bytes));
  }
}

void print_sm80(const std::string& type, int bytes, bool featured) {
  const std::string flag = featured ? "true" : "false";
  const ForwardTiles forward = forward_tiles(bytes == 4, featured);
  for (int i = 0; i < forward.count; ++i)
    print("forward<" + type + ", " + flag + ", " + to_string(i) + ">", forward.tiles[i].rows,
          forward.tiles[i].keys, 32 * forward.tiles[i].warps,
          forward_shared_bytes(forward.tiles[i], bytes));
  if (bytes == 2)
    for (const DecodeTile& tile : kDecodeTiles) print_decode(type, tile, flag);
  for (const Outer outer : {Outer::kKeys, Outer::kQueries})
    print_backward(type, bytes, outer, featured);
}

}  // namespace

int main() {
  print_sm90();
  for (const std::string type : {"ptx::f16", "ptx::bf16"}) {
    for (const MlaTile& tile : kMlaTiles)
      print("mla<" + type + ", " + to_string(tile.rows) + ">", tile.rows, kMlaKeys, 32 * tile.warps,
            mla_shared_bytes(tile));
    for (const bool featured : {false, true}) print_sm80(type, 2, featured);
  }
  for (const DecodeTile& tile : kDecodeCodeTiles) print_decode("fa::cuda::Code", tile, "true");
  print_sm80("float", 4, true);
}
