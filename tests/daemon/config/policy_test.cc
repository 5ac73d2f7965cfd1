#include "daemon/config/policy.h"

#include <string>
#include <utility>

#include "daemon/core/refusal.h"
#include "gtest/gtest.h"
#include "tests/testing/matchers.h"

namespace vrampool {
namespace {

using ::vrampool::testing::IsOk;
using ::vrampool::testing::IsRefused;

PeerIdentity Peer(uid_t uid, gid_t gid, std::string cgroup) {
  PeerIdentity peer;
  peer.pid = 100;
  peer.uid = uid;
  peer.gid = gid;
  peer.cgroup = std::move(cgroup);
  return peer;
}

Policy::Rule Rule(std::string tenant) {
  Policy::Rule rule;
  rule.tenant = std::move(tenant);
  return rule;
}

Policy OneRule(Policy::Rule rule) {
  Policy::Options options;
  options.rules.push_back(std::move(rule));
  return Policy(std::move(options));
}

std::string TenantOf(const Policy& policy, const PeerIdentity& peer) {
  const absl::StatusOr<std::string> tenant = policy.TenantOf(peer);
  return tenant.ok() ? *tenant : "refused";
}

TEST(PolicyTest, TheFirstRuleThatMatchesDecides) {
  Policy::Options options;
  options.rules = {Rule("root/first"), Rule("root/second")};
  options.rules[0].uids = {1000};
  const Policy policy(std::move(options));
  EXPECT_EQ(TenantOf(policy, Peer(1000, 1, "/")), "root/first");
  EXPECT_EQ(TenantOf(policy, Peer(1001, 1, "/")), "root/second");
}

TEST(PolicyTest, EverythingThatIsSetMustMatch) {
  Policy::Rule rule = Rule("root/a");
  rule.uids = {1000, 1001};
  rule.gids = {50};
  rule.cgroup_prefix = "/team-a";
  const Policy policy = OneRule(std::move(rule));
  EXPECT_EQ(TenantOf(policy, Peer(1001, 50, "/team-a")), "root/a");
  EXPECT_EQ(TenantOf(policy, Peer(1002, 50, "/team-a")), "refused");
  EXPECT_EQ(TenantOf(policy, Peer(1001, 51, "/team-a")), "refused");
  EXPECT_EQ(TenantOf(policy, Peer(1001, 50, "/team-b")), "refused");
}

TEST(PolicyTest, ACgroupPrefixMatchesWholeComponents) {
  Policy::Rule rule = Rule("root/a");
  rule.cgroup_prefix = "/slice/team-a/";
  const Policy policy = OneRule(std::move(rule));
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "/slice/team-a")), "root/a");
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "/slice/team-a/job-7")), "root/a");
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "/slice/team-ab")), "refused");
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "/slice")), "refused");
}

TEST(PolicyTest, ThePrefixSlashNeedsACgroup) {
  Policy::Rule rule = Rule("root/a");
  rule.cgroup_prefix = "/";
  const Policy policy = OneRule(std::move(rule));
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "/")), "root/a");
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "/any/where")), "root/a");
  EXPECT_EQ(TenantOf(policy, Peer(1, 1, "")), "refused");
}

TEST(PolicyTest, WhatAPeerSaysOfItselfDecidesNothing) {
  Policy::Rule rule = Rule("root/a");
  rule.cgroup_prefix = "/team-a";
  const Policy policy = OneRule(std::move(rule));
  PeerIdentity liar = Peer(1, 1, "/team-b");
  liar.executable = "/team-a";
  liar.command_line = "/team-a";
  EXPECT_EQ(TenantOf(policy, liar), "refused");
}

TEST(PolicyTest, AnUnmatchedPeerGetsTheDefaultTenant) {
  Policy::Options options;
  options.default_tenant = "root/default";
  EXPECT_EQ(TenantOf(Policy(std::move(options)), Peer(7, 7, "/")),
            "root/default");
}

TEST(PolicyTest, ARuleWithoutTenantRefusesBeforeTheDefault) {
  Policy::Options options;
  options.rules = {Rule("")};
  options.rules[0].uids = {66};
  options.default_tenant = "root/default";
  const Policy policy(std::move(options));
  EXPECT_THAT(policy.TenantOf(Peer(66, 1, "/")), IsRefused(Reason::kNoPolicy));
  EXPECT_THAT(policy.TenantOf(Peer(67, 1, "/")), IsOk());
}

TEST(PolicyTest, AReplacementIsWhole) {
  Policy::Options options;
  options.default_tenant = "root/before";
  options.admin_uids = {10};
  Policy policy(options);
  options.default_tenant = "root/after";
  options.admin_uids = {11};
  policy.Replace(options);
  EXPECT_EQ(*policy.TenantOf(Peer(1, 1, "/")), "root/after");
  EXPECT_FALSE(policy.IsAdmin(Peer(10, 1, "")));
  EXPECT_TRUE(policy.IsAdmin(Peer(11, 1, "")));
}

TEST(PolicyTest, TheRefusalNamesWhatWasSeen) {
  const Policy policy{Policy::Options{}};
  const std::string text(
      policy.TenantOf(Peer(1234, 56, "/x/y")).status().message());
  EXPECT_NE(text.find("uid 1234"), std::string::npos) << text;
  EXPECT_NE(text.find("gid 56"), std::string::npos) << text;
  EXPECT_NE(text.find("\"/x/y\""), std::string::npos) << text;
}

TEST(PolicyTest, AdminsAreRootTheDaemonAndThoseListed) {
  Policy::Options options;
  options.admin_uids = {10};
  options.admin_gids = {20};
  options.daemon_uid = 30;
  const Policy policy(std::move(options));
  EXPECT_TRUE(policy.IsAdmin(Peer(0, 1, "")));
  EXPECT_TRUE(policy.IsAdmin(Peer(10, 1, "")));
  EXPECT_TRUE(policy.IsAdmin(Peer(1, 20, "")));
  EXPECT_TRUE(policy.IsAdmin(Peer(30, 1, "")));
  EXPECT_FALSE(policy.IsAdmin(Peer(1, 1, "")));
  EXPECT_FALSE(policy.IsAdmin(Peer(20, 10, "")));
}

}  // namespace
}  // namespace vrampool
