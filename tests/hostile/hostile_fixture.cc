#include "tests/hostile/hostile_fixture.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "client/cli/device_directory.h"

namespace vrampool::testing {
namespace {

// Set in the attacker's process.
constexpr char kTarget[] = "VRAMPOOL_HOSTILE_TARGET";

// What an attack may add to the daemon's memory when it comes again: the most
// that one attack makes it hold is 64 MiB of metadata, and the allocator may
// keep that once more, in other places. Sanitizers keep what was freed longer.
#ifdef VRAMPOOL_SANITIZED
constexpr size_t kMostGrowthKiB = 400 * 1024;
#else
constexpr size_t kMostGrowthKiB = 80 * 1024;
#endif

}  // namespace

std::unique_ptr<RawSession> HostileTest::Attach() {
  auto session = RawSession::Attach(directory());
  EXPECT_THAT(session, IsOk());
  return session.ok() ? *std::move(session) : nullptr;
}

void HostileTest::ExpectServesOthers() {
  const auto other = Attach();
  ASSERT_NE(other, nullptr);
  v1::LeaseResponse lease;
  ASSERT_EQ(Describe(other->Lease(1 << 20, lease)), "OK");
  EXPECT_EQ(Describe(other->Return(lease.lease_id(),
                                   v1::ReturnRequest::MAPPING_UNMAPPED)),
            "OK");
}

void HostileTest::ExpectAliveAndSound() {
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const cli::Device device,
                                cli::SelectDevice(directory(), ""));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto admin,
                                cli::AdminClient::Connect(device));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto health, admin->Health());
  EXPECT_EQ(health.status(), cli::report::HealthResponse::SERVING);
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const auto now, admin->GetStatus());
  EXPECT_TRUE(now.conservation_holds());
  EXPECT_EQ(now.device_health(), "ok");
}

absl::StatusOr<v1::GetStatusResponse> HostileTest::status() {
  const auto device = cli::SelectDevice(directory(), "");
  if (!device.ok()) return device.status();
  const auto admin = cli::AdminClient::Connect(*device);
  if (!admin.ok()) return admin.status();
  return (*admin)->GetStatus();
}

void DefenceTest::Start(DaemonProcess::Options options) {
  auto daemon = DaemonProcess::Start(std::move(options));
  ASSERT_THAT(daemon, IsOk());
  daemon_ = *std::move(daemon);
  directory_ = daemon_->directory();
  // Clients of other users have to get in.
  using std::filesystem::perms;
  std::filesystem::permissions(
      directory(), perms::owner_all | perms::others_read | perms::others_exec);
}

void DefenceTest::ExpectUnharmed() {
  ASSERT_TRUE(daemon_->process().is_running());
  ExpectAliveAndSound();
  EXPECT_THAT(daemon_->AwaitWhole(), IsOk());
}

size_t DefenceTest::Descriptors() const {
  namespace fs = std::filesystem;
  size_t count = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(
           "/proc/" + std::to_string(daemon_->pid()) + "/fd")) {
    std::error_code gone;  // Closed meanwhile.
    const std::string what = fs::read_symlink(entry.path(), gone).string();
    // Slabs that are kept clean for a tenant are as many as the ledger says.
    const bool is_slab = what.rfind("/memfd:vrampool-slab", 0) == 0 ||
                         what.find("/memory-") != std::string::npos;  // A fake.
    if (!is_slab) ++count;
  }
  return count;
}

void DefenceTest::ExpectNoMoreDescriptors(size_t before) {
  // The server closes a connection a moment after its client did.
  EXPECT_TRUE(Eventually([&] { return Descriptors() <= before; }))
      << Descriptors() << " descriptors; before: " << before;
}

size_t DefenceTest::ResidentKiB() const {
  const std::string text =
      ReadFile("/proc/" + std::to_string(daemon_->pid()) + "/status");
  constexpr std::string_view kKey = "VmRSS:";
  size_t at = text.find(kKey);
  if (at == std::string::npos) return 0;
  at = text.find_first_of("0123456789", at);
  size_t value = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), value);
  return value;
}

void AttackTest::RunAttacker() {
  const auto* const test =
      ::testing::UnitTest::GetInstance()->current_test_info();
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(
      const auto attacker,
      ChildProcess::Start(
          {.words = {std::filesystem::read_symlink("/proc/self/exe").string(),
                     std::string("--gtest_filter=") + test->test_suite_name() +
                         "." + test->name(),
                     "--gtest_output="},
           .environment = daemon_->ClientEnvironment(
               {std::string(kTarget) + "=" + directory(), "GTEST_OUTPUT="})}));
  VRAMPOOL_ASSERT_OK_AND_ASSIGN(const int status, attacker->AwaitEnd());
  EXPECT_EQ(status, 0) << "the attacker's own expectations; see above";
}

void AttackTest::Run() {
  if (const char* const target = std::getenv(kTarget)) {
    directory_ = target;
    Prepare();
    if (!HasFatalFailure()) Attack();
    return;
  }
  Start({.served = served()});
  if (HasFatalFailure()) return;
  const size_t descriptors = Descriptors();
  RunAttacker();  // What is made on first use is made now.
  ExpectUnharmed();
  const size_t resident = ResidentKiB();
  RunAttacker();
  ExpectUnharmed();
  // A connection of the server to itself may have been made meanwhile.
  ExpectNoMoreDescriptors(descriptors + 2);
  EXPECT_LT(ResidentKiB(), resident + kMostGrowthKiB);
  EXPECT_EQ(daemon_->Terminate(), 0) << daemon_->ReadLog();
}

}  // namespace vrampool::testing
