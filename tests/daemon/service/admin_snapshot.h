// admin_snapshot.h - a snapshot with something of everything, for the tests of
// service Admin.

#ifndef VRAMPOOL_TESTS_DAEMON_SERVICE_ADMIN_SNAPSHOT_H_
#define VRAMPOOL_TESTS_DAEMON_SERVICE_ADMIN_SNAPSHOT_H_

#include "daemon/core/snapshot.h"
#include "daemon/service/layout.h"
#include "tests/daemon/service/fake_broker.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {

inline void AddSessions(Snapshot& snapshot) {
  SessionView session;
  session.id = SessionId{5};
  session.tenant = "root/a/x";
  session.peer = MakePeer(100, 1000);
  session.peer.cgroup = "/user.slice";
  session.peer.executable = "/bin/train";
  session.peer.command_line = "train --fast";
  session.labels = {.name = "n", .tag = "t", .framework = "f"};
  session.attached_at = absl::FromUnixSeconds(10);
  session.charged = MiB(6);
  session.lingering = MiB(2);
  session.leases = 3;
  session.holds = 4;
  snapshot.sessions.push_back(session);
  session.id = SessionId{6};
  session.tenant = "root/ab";
  session.state = SessionState::kEnded;
  snapshot.sessions.push_back(session);
}

inline void AddTenants(Snapshot& snapshot) {
  snapshot.tenants = {{.path = "root",
                       .limit = MiB(100),
                       .used = MiB(28),
                       .available = MiB(72),
                       .peak = MiB(30),
                       .clean = MiB(2),
                       .sessions = 2},
                      {.path = "root/a",
                       .limit = MiB(10),
                       .used = MiB(8),
                       .available = MiB(2),
                       .peak = MiB(9),
                       .clean = MiB(1),
                       .sessions = 1}};
}

inline void AddSlabs(Snapshot& snapshot) {
  SlabView slab;
  slab.id = SlabId{1};
  slab.lease = LeaseId{11};
  slab.session = SessionId{5};
  slab.tenant = "root/a/x";
  slab.size = MiB(4);
  slab.kind = HandleKind::kHostFd;
  slab.state = SlabState::kLeased;
  slab.since = absl::FromUnixSeconds(20);
  slab.objects = 2;
  slab.mapped_by = {SessionId{5}};
  snapshot.slabs.push_back(slab);
  slab.id = SlabId{2};
  slab.lease = LeaseId{};
  slab.session = SessionId{};
  slab.state = SlabState::kLingering;
  slab.mapped_by = {SessionId{6}, SessionId{99}};
  snapshot.slabs.push_back(slab);
  slab.id = SlabId{3};
  slab.state = SlabState::kClean;
  slab.mapped_by = {};
  snapshot.slabs.push_back(slab);
}

inline void AddObjects(Snapshot& snapshot) {
  ObjectView object;
  object.id = ObjectId{41};
  object.name = "weights";
  object.tenant = "root/a/x";
  object.producer = SessionId{5};
  object.producer_is_live = true;
  object.size = Bytes(64);
  object.buffers = 1;
  object.holders = {SessionId{5}, SessionId{6}};
  object.phase = ObjectPhase::kLive;
  object.created_at = absl::FromUnixSeconds(30);
  object.last_opened_at = absl::InfinitePast();
  object.metadata_bytes = 7;
  Layouts layouts;
  layouts.Add()->set_dtype_bits(32);
  object.layout = EncodeLayouts(layouts);
  snapshot.objects.push_back(object);
  object.id = ObjectId{42};
  object.name = "orphan";
  object.holders = {};
  snapshot.objects.push_back(object);
  object.id = ObjectId{43};
  object.name = "";
  snapshot.objects.push_back(object);
}

inline Snapshot MakeSnapshot() {
  Snapshot snapshot;
  snapshot.epoch = FakeBroker::kEpoch;
  snapshot.pool.capacity = MiB(100);
  snapshot.pool.free = MiB(72);
  for (int i = 0; i < kSlabStates; ++i) {
    snapshot.pool.by_state[i] = MiB(static_cast<uint64_t>(i) + 1);
  }
  AddSessions(snapshot);
  AddTenants(snapshot);
  AddSlabs(snapshot);
  AddObjects(snapshot);
  snapshot.waiting = 9;
  snapshot.counters.refused_quota = 12;
  snapshot.counters.refused_pool = 13;
  return snapshot;
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_SERVICE_ADMIN_SNAPSHOT_H_
