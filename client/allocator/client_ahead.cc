// Slabs that are leased before they are needed: in reserve when the client is
// opened, and ahead of its growth, by the maintenance thread.

#include <algorithm>
#include <new>
#include <string>

#include "base/bytes.h"
#include "base/status_macros.h"
#include "client/allocator/client.h"

namespace vrampool::client {
namespace {

using std::chrono::steady_clock;

}  // namespace

uint64_t Client::NoteGrowing() {
  MutexLock lock(mu_);
  if (slabs_.HasIdleLeased()) {
    is_growing_ = true;
    WakeMaintenance();
  }
  return slabs_.totals().common_bytes();
}

void Client::NoteStep() {
  if (!settings_.leases_ahead) return;
  ahead_.NoteStep(steady_clock::now());
  if (IsAheadWanted()) WakeMaintenance();
}

bool Client::IsAheadWanted() {
  return settings_.leases_ahead && !is_reclaim_wanted_ && !is_retired_ &&
         waiting_growths_ == 0 && current_->is_live() &&
         ahead_.IsWanted(steady_clock::now());
}

void Client::LeaseAhead() {
  SessionPtr session;
  std::optional<uint64_t> size;
  {
    MutexLock lock(mu_);
    if (!IsAheadWanted()) return;
    session = current_;
    size = GrowthFor(1, slabs_.totals().common_bytes(), settings_.slab.count(),
                     session->granule_bytes());
    coming_bytes_ = size.value_or(0);
  }
  // A refusal is no error, and neither is a want of the process's own memory.
  bool is_leased = false;
  try {
    if (size) is_leased = LeaseAheadIn(session, *size);
  } catch (const std::bad_alloc&) {
  }
  MutexLock lock(mu_);
  coming_bytes_ = 0;
  changed_.NotifyAll();
  if (is_leased) {
    ahead_.NoteLeased();
  } else {
    ahead_.NoteRefused(steady_clock::now());
  }
}

bool Client::AwaitAhead(uint64_t needed) {
  MutexLock lock(mu_);
  if (coming_bytes_ == 0 || coming_bytes_ < needed) return false;
  while (coming_bytes_ != 0) changed_.Wait(lock);
  return true;
}

// In one slab, or else in several: a device has its room in pieces.
Status Client::LeaseReserve(TimePoint deadline) {
  if (settings_.reserve.is_zero()) return {};
  const SessionPtr session = this->session();
  const Bytes granule(session->granule_bytes());
  // The option has an upper bound, so this cannot overflow.
  uint64_t left = CheckedRoundUp(settings_.reserve, granule)->count();
  uint64_t piece = left;
  Status leased;
  while (left > 0 && leased.ok()) {
    piece = std::min(piece, left);
    leased = ReservePiece(session, piece, steady_clock::now(), left);
    const bool is_too_fast = leased.code() == VRAMPOOL_RATE_LIMITED;
    if (leased.ok() || !(is_too_fast || IsForWantOfRoom(leased))) continue;
    if (leased.code() == VRAMPOOL_OUT_OF_POOL && piece > kMostGrowth) {
      piece = CheckedRoundUp(Bytes(piece / 2), granule)->count();
      leased = {};
    } else {
      leased = ReservePiece(session, piece, deadline, left);
    }
  }
  if (leased.ok()) return {};
  return {leased.code(),
          "the reserve of " + FormatBytes(settings_.reserve) +
              " (reserve_bytes, VRAMPOOL_RESERVE) cannot be had, " +
              FormatBytes(Bytes(left)) +
              " are missing: " + std::string(leased.message())};
}

Status Client::ReservePiece(const SessionPtr& session, uint64_t size,
                            TimePoint deadline, uint64_t& left) {
  VRAMPOOL_ASSIGN_OR_RETURN(const SlabKey key,
                            LeaseSlab(session, size, deadline));
  MutexLock lock(mu_);
  slabs_.Reserve(key);
  left -= std::min(left, slabs_.Get(key).mapping.size_bytes());
  return {};
}

bool Client::LeaseAheadIn(const SessionPtr& session, uint64_t size) {
  const Result<SlabKey> key = LeaseSlab(session, size, steady_clock::now());
  if (!key.ok()) return false;
  MutexLock lock(mu_);
  slabs_.Get(*key).is_ahead = true;
  slabs_.Unpin(*key);
  NoteIdle();
  return true;
}

}  // namespace vrampool::client
