#include "client/allocator/return_book.h"

#include <algorithm>

namespace vrampool::client {

void ReturnBook::NoteGone(SlabName slab) {
  const auto found = leaving_.find(slab);
  if (found != leaving_.end()) leaving_.erase(found);
  ++gone_;
}

std::optional<Unreturned> ReturnBook::FindUnreturned(SlabName slab) const {
  const auto found = std::ranges::find(unreturned_, slab, &Unreturned::name);
  if (found == unreturned_.end()) return std::nullopt;
  return *found;
}

void ReturnBook::DropUnreturned(SlabName slab) {
  std::erase_if(unreturned_,
                [&](const Unreturned& one) { return one.name() == slab; });
}

void ReturnBook::Forget(LinkSerial session) {
  std::erase_if(withdrawn_,
                [&](const SlabName& name) { return name.first == session; });
  std::erase_if(unreturned_, [&](const Unreturned& one) {
    return one.name().first == session;
  });
}

}  // namespace vrampool::client
