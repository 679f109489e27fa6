#include "simt/footprint.h"

#include <algorithm>

namespace simt {

namespace {

constexpr uintptr_t kWordBytes = 64;

/** Calls visit(word, mask) for the words of a bit for each byte that [pointer, + bytes) lies in. */
template <class Visit>
void visit_words(const void* pointer, size_t bytes, Visit visit) {
  const uintptr_t end = reinterpret_cast<uintptr_t>(pointer) + bytes;
  for (uintptr_t at = reinterpret_cast<uintptr_t>(pointer); at < end;) {
    const uintptr_t word = at / kWordBytes, first = at % kWordBytes;
    const uintptr_t count = std::min(end - at, kWordBytes - first);
    const uint64_t ones = count == kWordBytes ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    visit(word, ones << first);
    at += count;
  }
}

}  // namespace

void Footprint::add(const void* pointer, size_t bytes) {
  visit_words(pointer, bytes, [&](uintptr_t word, uint64_t mask) {
    const uintptr_t page = word * kWordBytes / kPageBytes;
    if (page != last_) {
      std::unique_ptr<Page>& found = pages_[page];
      if (!found) found = std::make_unique<Page>();
      last_ = page;
      last_page_ = found.get();
    }
    (*last_page_)[word % last_page_->size()] |= mask;
  });
}

bool Footprint::meets(const void* pointer, size_t bytes) const {
  bool met = false;
  visit_words(pointer, bytes, [&](uintptr_t word, uint64_t mask) {
    const auto found = pages_.find(word * kWordBytes / kPageBytes);
    if (found != pages_.end()) met |= ((*found->second)[word % found->second->size()] & mask) != 0;
  });
  return met;
}

void Footprint::remove(const void* pointer, size_t bytes) {
  visit_words(pointer, bytes, [&](uintptr_t word, uint64_t mask) {
    const auto found = pages_.find(word * kWordBytes / kPageBytes);
    if (found != pages_.end()) (*found->second)[word % found->second->size()] &= ~mask;
  });
}

void Footprint::clear() {
  pages_.clear();
  last_ = ~uintptr_t{0};
  last_page_ = nullptr;
}

}  // namespace simt
