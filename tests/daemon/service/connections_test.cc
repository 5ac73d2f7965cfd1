#include "daemon/service/connections.h"

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vrampool {
namespace {

using ::testing::Ne;

struct Pair {
  UniqueFd server;
  UniqueFd client;
};

Pair MakePair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {.server = UniqueFd(ends[0]), .client = UniqueFd(ends[1])};
}

PeerIdentity Peer(pid_t pid, uid_t uid) {
  PeerIdentity peer;
  peer.pid = pid;
  peer.uid = uid;
  return peer;
}

// Keeps what it is given to serve, as gRPC does, until it is told to close.
class ConnectionsTest : public ::testing::Test {
 protected:
  // Adopts a connection of `peer`; gives its number, or -1 when it was refused.
  int Adopt(const PeerIdentity& peer) {
    const size_t before = served_.size();
    Pair pair = MakePair();
    connections_->Adopt(std::move(pair.server), peer);
    clients_.push_back(std::move(pair.client));
    return served_.size() == before ? -1 : served_.back().get();
  }

  void CloseServed(int fd) {
    for (UniqueFd& served : served_) {
      if (served.get() == fd) served.reset();
    }
  }

  std::string NameOf(int fd) { return "fd:" + std::to_string(fd); }

  std::vector<UniqueFd> served_;
  std::vector<UniqueFd> clients_;
  std::unique_ptr<Connections> connections_ = std::make_unique<Connections>(
      Connections::Bounds{.per_uid = 2, .in_all = 3},
      [this](int fd) { served_.emplace_back(fd); });
};

TEST_F(ConnectionsTest, AdoptedConnectionIsFoundByItsName) {
  const int fd = Adopt(Peer(10, 1000));
  const auto found = connections_->Find(NameOf(fd));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->peer->pid, 10);
  EXPECT_EQ(found->peer->uid, 1000u);
}

TEST_F(ConnectionsTest, OtherNamesAreNone) {
  const int fd = Adopt(Peer(10, 1000));
  EXPECT_EQ(connections_->Find("unix:"), std::nullopt);
  EXPECT_EQ(connections_->Find("fd:"), std::nullopt);
  EXPECT_EQ(connections_->Find("inproc"), std::nullopt);
  EXPECT_EQ(connections_->Find(NameOf(fd) + "x"), std::nullopt);
  EXPECT_EQ(connections_->Find(NameOf(fd + 1000)), std::nullopt);
  EXPECT_EQ(connections_->Find("fd:99999999999999999999"), std::nullopt);
}

TEST_F(ConnectionsTest, IdentityIsThereBeforeTheConnectionIsServed) {
  bool was_there = false;
  Connections connections({.per_uid = 2, .in_all = 3}, [&](int fd) {
    served_.emplace_back(fd);
    was_there = connections.Find(NameOf(fd)).has_value();
  });
  Pair pair = MakePair();
  connections.Adopt(std::move(pair.server), Peer(10, 1000));
  EXPECT_TRUE(was_there);
}

TEST_F(ConnectionsTest, ReusedNumberGetsTheNewIdentityAndGeneration) {
  const int fd = Adopt(Peer(10, 1000));
  const uint64_t old_generation = connections_->Find(NameOf(fd))->generation;
  CloseServed(fd);
  Pair pair = MakePair();
  // Whatever the kernel gave it, the new connection now has the old number.
  if (pair.server.get() != fd) {
    ASSERT_EQ(dup2(pair.server.get(), fd), fd);
    pair.server.reset(fd);
  }
  connections_->Adopt(std::move(pair.server), Peer(20, 2000));
  const auto found = connections_->Find(NameOf(fd));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->peer->pid, 20);
  EXPECT_THAT(found->generation, Ne(old_generation));
}

TEST_F(ConnectionsTest, OneUidHasABoundAndOthersAreServed) {
  EXPECT_NE(Adopt(Peer(10, 1000)), -1);
  EXPECT_NE(Adopt(Peer(11, 1000)), -1);
  EXPECT_EQ(Adopt(Peer(12, 1000)), -1);
  EXPECT_NE(Adopt(Peer(20, 2000)), -1);
  EXPECT_EQ(connections_->refused(), 1u);
}

TEST_F(ConnectionsTest, AllUidsTogetherHaveABound) {
  EXPECT_NE(Adopt(Peer(10, 1000)), -1);
  EXPECT_NE(Adopt(Peer(20, 2000)), -1);
  EXPECT_NE(Adopt(Peer(30, 3000)), -1);
  EXPECT_EQ(Adopt(Peer(40, 4000)), -1);
}

TEST_F(ConnectionsTest, RefusedConnectionIsClosed) {
  Adopt(Peer(10, 1000));
  Adopt(Peer(11, 1000));
  ASSERT_EQ(Adopt(Peer(12, 1000)), -1);
  char byte = 0;
  EXPECT_EQ(read(clients_.back().get(), &byte, 1), 0);
}

TEST_F(ConnectionsTest, ClosedConnectionsDoNotCount) {
  const int first = Adopt(Peer(10, 1000));
  Adopt(Peer(11, 1000));
  ASSERT_EQ(Adopt(Peer(12, 1000)), -1);
  CloseServed(first);
  EXPECT_NE(Adopt(Peer(12, 1000)), -1);
  EXPECT_EQ(Adopt(Peer(13, 1000)), -1);
}

TEST_F(ConnectionsTest, ClosedConnectionDoesNotCountWhenItsNumberIsTaken) {
  const int first = Adopt(Peer(10, 1000));
  Adopt(Peer(11, 1000));
  CloseServed(first);
  // Something else of the daemon's, no connection, has the number now.
  UniqueFd other(dup2(STDERR_FILENO, first));
  EXPECT_NE(Adopt(Peer(12, 1000)), -1);
}

TEST_F(ConnectionsTest, NothingIsServedAfterStop) {
  connections_->Stop();
  EXPECT_EQ(Adopt(Peer(10, 1000)), -1);
  char byte = 0;
  EXPECT_EQ(read(clients_.back().get(), &byte, 1), 0);
}

}  // namespace
}  // namespace vrampool
