#include "daemon/service/connections.h"

#include <sys/stat.h>

#include <charconv>
#include <utility>

namespace vrampool {
namespace {

constexpr std::string_view kPrefix = "fd:";

}  // namespace

Connections::Connections(Bounds bounds, Serve serve)
    : bounds_(bounds), serve_(std::move(serve)) {}

void Connections::Adopt(UniqueFd connection, const PeerIdentity& peer) {
  struct stat info = {};
  if (fstat(connection.get(), &info) != 0) return;
  const MutexLock serving(serving_mu_);
  {
    const MutexLock lock(mu_);
    // An entry under this very number is of a connection that is closed: the
    // kernel would not have given the number again otherwise.
    const auto old = entries_.find(connection.get());
    if (old != entries_.end()) Forget(old);
    if (is_stopped_ || !HasRoom(peer.uid)) {
      ++refused_;
      return;
    }
    ++per_uid_[peer.uid];
    entries_.emplace(
        connection.get(),
        Entry{.connection = {.generation = ++generations_,
                             .peer = std::make_shared<PeerIdentity>(peer)},
              .device = info.st_dev,
              .inode = info.st_ino});
  }
  // After the entry is there: the first call may arrive at once.
  serve_(connection.release());
}

std::optional<Connections::Connection> Connections::Find(
    std::string_view name) const {
  if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int fd = -1;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data(), end, fd);
  if (error != std::errc() || rest != end) return std::nullopt;
  const MutexLock lock(mu_);
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return std::nullopt;
  return found->second.connection;
}

void Connections::Stop() {
  const MutexLock serving(serving_mu_);
  const MutexLock lock(mu_);
  is_stopped_ = true;
}

uint64_t Connections::refused() const {
  const MutexLock lock(mu_);
  return refused_;
}

bool Connections::HasRoom(uid_t uid) {
  const auto is_full = [this, uid]() VRAMPOOL_REQUIRES(mu_) {
    const auto found = per_uid_.find(uid);
    return entries_.size() >= bounds_.in_all ||
           (found != per_uid_.end() && found->second >= bounds_.per_uid);
  };
  if (is_full()) ForgetClosed();
  return !is_full();
}

void Connections::Forget(absl::flat_hash_map<int, Entry>::iterator at) {
  const auto count = per_uid_.find(at->second.connection.peer->uid);
  if (--count->second == 0) per_uid_.erase(count);
  entries_.erase(at);
}

void Connections::ForgetClosed() {
  for (auto next = entries_.begin(); next != entries_.end();) {
    const auto at = next++;
    struct stat info = {};
    const bool is_same = fstat(at->first, &info) == 0 &&
                         info.st_dev == at->second.device &&
                         info.st_ino == at->second.inode;
    if (!is_same) Forget(at);
  }
}

}  // namespace vrampool
