// Pinned host memory through which everything between host and device passes: a copy from or to
// memory that is not pinned blocks its caller.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace fa::cuda {

/** A ring of pinned memory. Pieces are taken by one thread and given back by any. */
class StagingRing {
 public:
  /** The most that one piece can hold. */
  static constexpr size_t kPieceBytes = size_t{4} << 20;

  StagingRing() = default;
  ~StagingRing() { unpin(); }
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  /**
   * Room for `bytes`, 1 to kPieceBytes, that goes back when the last pointer to it does. Waits
   * while the ring is full. Throws Error{kOutOfMemory} when there is no memory to pin. The device
   * is current.
   */
  std::shared_ptr<char> take(size_t bytes);
  /** Frees the memory, when no piece is in use. The device is current. */
  void unpin();

 private:
  static constexpr size_t kCapacity = 4 * kPieceBytes;
  static constexpr size_t kAlignment = 256;

  struct Piece {
    size_t begin, end;
    bool given_back;
  };

  bool fits(size_t bytes, size_t& begin) const;
  void give_back(size_t begin);

  char* memory_ = nullptr;    // pinned when first asked for
  std::mutex mutex_;          // guards what follows
  std::deque<Piece> pieces_;  // in use, oldest first
  std::condition_variable freed_;
};

}  // namespace fa::cuda
