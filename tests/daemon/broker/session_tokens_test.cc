#include "daemon/broker/session_tokens.h"

#include <string>
#include <string_view>

#include "daemon/core/refusal.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::vrampool::testing::IsOk;
using ::vrampool::testing::IsRefused;

constexpr SessionId kSession{7};

PeerIdentity Peer(pid_t pid, uint64_t start_time_ticks) {
  PeerIdentity peer;
  peer.pid = pid;
  peer.start_time_ticks = start_time_ticks;
  return peer;
}

std::string Text(const SessionToken& token) {
  return std::string(token.begin(), token.end());
}

class SessionTokensTest : public ::testing::Test {
 protected:
  std::string Issue(SessionId session) {
    return Text(*tokens_.Issue(session, owner_));
  }

  const PeerIdentity owner_ = Peer(100, 5000);
  SessionTokens tokens_;
};

TEST_F(SessionTokensTest, ATokenStandsForItsSessionInItsProcess) {
  const std::string token = Issue(kSession);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const SessionId session,
                                tokens_.Authenticate(token, owner_));
  EXPECT_EQ(session, kSession);
}

TEST_F(SessionTokensTest, AnotherProcessIsForeignAlsoWithTheSamePid) {
  const std::string token = Issue(kSession);
  EXPECT_THAT(tokens_.Authenticate(token, Peer(101, 5000)),
              IsRefused(Reason::kSessionForeign));
  EXPECT_THAT(tokens_.Authenticate(token, Peer(100, 5001)),
              IsRefused(Reason::kSessionForeign));
}

TEST_F(SessionTokensTest, EveryBitCounts) {
  const std::string token = Issue(kSession);
  size_t accepted = 0;
  for (size_t bit = 0; bit < token.size() * 8; ++bit) {
    std::string forged = token;
    forged[bit / 8] = static_cast<char>(forged[bit / 8] ^ (1 << (bit % 8)));
    accepted += tokens_.Authenticate(forged, owner_).ok() ? 1 : 0;
  }
  EXPECT_EQ(accepted, 0u);
}

TEST_F(SessionTokensTest, OtherLengthsAreUnknown) {
  const std::string token = Issue(kSession);
  const auto unknown = IsRefused(Reason::kSessionUnknown);
  EXPECT_THAT(tokens_.Authenticate("", owner_), unknown);
  EXPECT_THAT(tokens_.Authenticate(token.substr(1), owner_), unknown);
  EXPECT_THAT(tokens_.Authenticate(token + "x", owner_), unknown);
}

TEST_F(SessionTokensTest, ARevokedTokenIsUnknown) {
  const std::string token = Issue(kSession);
  const std::string other = Issue(SessionId{8});
  tokens_.Revoke(kSession);
  tokens_.Revoke(SessionId{99});
  EXPECT_THAT(tokens_.Authenticate(token, owner_),
              IsRefused(Reason::kSessionUnknown));
  EXPECT_THAT(tokens_.Authenticate(other, owner_), IsOk());
}

TEST_F(SessionTokensTest, TokensAreRandomAndAppearInNoError) {
  const std::string token = Issue(kSession);
  EXPECT_NE(token, Issue(kSession));  // Also replaces the first.
  const auto refused = tokens_.Authenticate(token, owner_);
  EXPECT_THAT(refused, IsRefused(Reason::kSessionUnknown));
  EXPECT_EQ(refused.status().ToString().find(token.substr(8)),
            std::string::npos);
}

}  // namespace
}  // namespace vrampool
