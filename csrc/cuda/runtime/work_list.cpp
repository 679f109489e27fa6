#include "cuda/runtime/work_list.h"

#include <algorithm>
#include <utility>

#include "core/cost.h"
#include "core/divide.h"
#include "core/tile_count.h"
#include "cuda/runtime/split_choice.h"

namespace fa::cuda {

namespace {

/** As device/sequence.h has it. */
WindowMask window_or_tree_of(const AttentionProblem& p, const Sequence& s) {
  WindowMask window = window_of(p, s);
  if (p.tree(s.seqlen_k - s.first_position)) {
    if (window.left < kFar) window.left += s.seqlen_q - 1;
    window.right = kFar;
  }
  return window;
}

/** A sequence as a launch cuts it. */
struct CutSequence {
  int64_t batch;
  Sequence at;
  std::vector<int64_t> tiles;  // of keys, that each tile of rows sees
  int64_t most_tiles = 0;
};

class Dealer {
 public:
  Dealer(const AttentionProblem& problem, WorkList& list) : p_(problem), list_(list) {
    list_.splits.assign(static_cast<size_t>(p_.batch()), 1);
  }

  /** Adds the items of the sequences that a launch is for. */
  void deal(const PlacedLaunch& placed) {
    const ForwardLaunch& launch = *placed.launch;
    std::vector<CutSequence> cut;
    for (int64_t b = 0; b < p_.batch(); ++b) {
      const Sequence s = sequence(p_, b);
      list_.covered = std::max(list_.covered, first_query(s) + s.seqlen_q);
      if (s.seqlen_q > 0 && launch.queries.hold(s.seqlen_q))
        cut.push_back(cut_sequence(launch, b, s));
    }
    const int64_t at_once = launch.keys_at_once / launch.keys;
    std::vector<SequenceWork> work;
    for (const CutSequence& c : cut) {
      SequenceWork w{static_cast<int64_t>(c.tiles.size()) * launch.head_blocks,
                     ceil_div(c.most_tiles, at_once), 0};
      for (const int64_t tiles : c.tiles) w.total += launch.head_blocks * ceil_div(tiles, at_once);
      work.push_back(w);
    }
    const int64_t share = p_.num_splits > 0 ? 0 : share_of(work, placed.places);
    std::vector<std::pair<int64_t, WorkItem>> items;  // by what they cost
    for (size_t n = 0; n < cut.size(); ++n) {
      const int64_t wanted =
          p_.num_splits > 0 ? p_.num_splits : splits_by_share(work[n].longest, share);
      add_sequence(launch, cut[n],
                   static_cast<int>(std::clamp<int64_t>(cut[n].most_tiles, 1, wanted)), items);
    }
    std::stable_sort(items.begin(), items.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [cost, item] : items) list_.items.push_back(item);
    list_.items_of.push_back(static_cast<int64_t>(items.size()));
  }

 private:
  /** Of axes 0 and 1 of q. */
  int64_t first_query(const Sequence& s) const { return s.q_batch * p_.q.shape[1] + s.q_begin; }

  CutSequence cut_sequence(const ForwardLaunch& launch, int64_t batch, const Sequence& s) const {
    CutSequence cut{batch, s, {}};
    const WindowMask window = window_or_tree_of(p_, s);
    const int64_t rows = s.seqlen_q * launch.pack;
    for (int64_t row = 0; row < rows; row += launch.rows) {
      const int64_t last = std::min(rows, row + launch.rows) - 1;
      const TileRange range =
          visible_tiles(window, row / launch.pack, last / launch.pack + 1, launch.keys);
      cut.tiles.push_back(range.end - range.begin);
      cut.most_tiles = std::max(cut.most_tiles, cut.tiles.back());
    }
    return cut;
  }

  void add_sequence(const ForwardLaunch& launch, const CutSequence& cut, int splits,
                    std::vector<std::pair<int64_t, WorkItem>>& items) {
    const Sequence& s = cut.at;
    const int64_t heads = p_.heads(), stride = s.seqlen_q * heads;
    const int64_t first = first_query(s);
    const int64_t first_row = list_.partial_rows;
    if (splits > 1) {
      list_.splits[static_cast<size_t>(cut.batch)] = splits;
      list_.partial_rows += splits * stride;
      for (int64_t i = 0; i < s.seqlen_q; ++i)
        list_.merges.push_back({static_cast<int32_t>(first + i), splits,
                                static_cast<PartialRow>(first_row + i * heads),
                                static_cast<int32_t>(stride)});
    }
    for (int64_t m_block = static_cast<int64_t>(cut.tiles.size()) - 1; m_block >= 0; --m_block) {
      const int64_t tiles = cut.tiles[static_cast<size_t>(m_block)];
      const int parts = static_cast<int>(std::clamp<int64_t>(tiles, 1, splits));
      if (splits > 1)
        list_.written_rows +=
            parts * launch.head_blocks *
            std::min<int64_t>(launch.rows, s.seqlen_q * launch.pack - m_block * launch.rows);
      for (int split = 0; split < parts; ++split) {
        const int64_t partial = splits > 1 ? first_row + split * stride - first * heads : 0;
        items.push_back({ceil_div(tiles, parts),
                         {.batch = static_cast<int32_t>(cut.batch),
                          .m_block = static_cast<int32_t>(m_block),
                          .range = WorkItem::pack(split, parts, splits),
                          .partial = static_cast<PartialRow>(partial)}});
      }
    }
  }

  const AttentionProblem& p_;
  WorkList& list_;
};

/** Lists of one table of sequences, by what else they depend on. */
struct KnownLists {
  std::vector<std::pair<std::vector<int64_t>, std::shared_ptr<WorkList>>> lists;
};

std::vector<int64_t> key_of(const AttentionProblem& p, const std::vector<PlacedLaunch>& launches) {
  std::vector<int64_t> key = {p.heads(), p.num_splits, p.window_left, p.window_right,
                              p.sink_tokens};
  for (const PlacedLaunch& placed : launches) {
    const ForwardLaunch& l = *placed.launch;
    key.insert(key.end(), {l.rows, l.keys, l.keys_at_once, l.pack, l.queries.least, l.queries.most,
                           placed.places});
  }
  return key;
}

std::shared_ptr<WorkList> new_list(const AttentionProblem& p,
                                   const std::vector<PlacedLaunch>& launches) {
  const auto list = std::make_shared<WorkList>();
  Dealer dealer(p, *list);
  for (const PlacedLaunch& placed : launches) dealer.deal(placed);
  return list;
}

}  // namespace

void WorkList::write_to(char* list) const {
  std::copy(items.begin(), items.end(), reinterpret_cast<WorkItem*>(list));
  std::copy(merges.begin(), merges.end(), reinterpret_cast<MergeItem*>(list + merges_offset()));
}

std::shared_ptr<WorkList> work_list(const AttentionProblem& p,
                                    const std::vector<PlacedLaunch>& launches) {
  if (!p.sequences) return new_list(p, launches);
  std::shared_ptr<void>& prepared = p.sequences->prepared;
  if (!prepared) prepared = std::make_shared<KnownLists>();
  auto& lists = static_cast<KnownLists*>(prepared.get())->lists;
  std::vector<int64_t> key = key_of(p, launches);
  for (const auto& [known, list] : lists)
    if (known == key) return list;
  lists.emplace_back(std::move(key), new_list(p, launches));
  return lists.back().second;
}

}  // namespace fa::cuda
