#include "simt/bank_conflicts.h"

#include <algorithm>

#include "simt/counters.h"

namespace simt {

namespace {

constexpr int kBanks = 32, kBankBytes = 4;

uint64_t& conflicts_of(Access kind) {
  switch (kind) {
    case Access::kLoad: return counters().shared_load_conflicts;
    case Access::kStore: return counters().shared_store_conflicts;
    case Access::kAsyncCopy: break;
  }
  return counters().cp_async_conflicts;
}

}  // namespace

int extra_passes(const uint32_t (&addresses)[32], uint32_t mask, int bytes) {
  const int lanes = bytes <= kBankBytes ? 32 : 32 * kBankBytes / bytes;  // served together
  const int words = std::max(1, bytes / kBankBytes);
  int extra = 0;
  for (int first = 0; first < 32; first += lanes) {
    uint32_t seen[kBanks][32];
    int distinct[kBanks] = {};
    int passes = 0;
    for (int lane = first; lane < first + lanes; ++lane) {
      if (!(mask >> lane & 1)) continue;
      for (int i = 0; i < words; ++i) {
        const uint32_t word = addresses[lane] / kBankBytes + static_cast<uint32_t>(i);
        const uint32_t bank = word % kBanks;
        uint32_t* end = seen[bank] + distinct[bank];
        if (std::find(seen[bank], end, word) != end) continue;
        *end = word;
        passes = std::max(passes, ++distinct[bank]);
      }
    }
    extra += std::max(0, passes - 1);
  }
  return extra;
}

SharedAccesses::Site& SharedAccesses::site(Access kind, int bytes, const Location& at) {
  const auto matches = [&](const Site& each) {
    return each.at == at && each.kind == kind && each.bytes == bytes;
  };
  if (last_ < sites_.size() && matches(sites_[last_])) return sites_[last_];
  last_ = static_cast<size_t>(std::find_if(sites_.begin(), sites_.end(), matches) - sites_.begin());
  if (last_ == sites_.size()) {
    sites_.emplace_back();
    sites_.back().at = at;
    sites_.back().kind = kind;
    sites_.back().bytes = bytes;
  }
  return sites_[last_];
}

void SharedAccesses::add(Access kind, uint32_t address, int bytes, int lane, const Location& at) {
  Site& here = site(kind, bytes, at);
  const size_t which = here.executed[lane]++;
  if (which == here.used) {
    if (which == 0) touched_.push_back(last_);
    if (here.groups.size() == here.used) here.groups.emplace_back();
    here.groups[here.used++].mask = 0;
  }
  Group& group = here.groups[which];
  group.mask |= 1u << lane;
  group.addresses[lane] = address;
}

void SharedAccesses::count() {
  for (const size_t index : touched_) {
    Site& site = sites_[index];
    for (size_t i = 0; i < site.used; ++i)
      conflicts_of(site.kind) += static_cast<uint64_t>(
          extra_passes(site.groups[i].addresses, site.groups[i].mask, site.bytes));
    std::fill(site.executed, site.executed + 32, 0u);
    site.used = 0;
  }
  touched_.clear();
}

}  // namespace simt
