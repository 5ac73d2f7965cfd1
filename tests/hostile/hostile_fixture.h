// hostile_fixture.h - a real daemon to attack, and the questions asked after
// every attack: does it live and serve, are its books right, has it got
// everything back, does it hold no more than before.
//
//   VRAMPOOL_ATTACK(CallAttack, HugeNames) { ... Attach() ... }
//   VRAMPOOL_ATTACK_ON_EVERY_DEVICE(CallAttack, AbsurdSizes) { ... }
//
// is a test in two processes. The one started first runs the daemon, and starts
// itself again to attack it: what the attacker had is back only when its
// process has gone. It does so twice, and compares what the daemon holds. The
// first form is for what has nothing to do with slabs, and has memory of the
// host.

#ifndef VRAMPOOL_TESTS_HOSTILE_HOSTILE_FIXTURE_H_
#define VRAMPOOL_TESTS_HOSTILE_HOSTILE_FIXTURE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hostile/raw_session.h"
#include "tests/testing/daemon_process.h"
#include "tests/testing/matchers.h"

namespace vrampool::testing {

// For both processes.
class HostileTest : public ::testing::Test {
 protected:
  // Of the daemon's sockets.
  const std::string& directory() const { return directory_; }

  std::unique_ptr<RawSession> Attach();
  // Another client gets memory and gives it back.
  void ExpectServesOthers();
  void ExpectAliveAndSound();
  absl::StatusOr<v1::GetStatusResponse> status();

  std::string directory_;
};

// For the process that has the daemon.
class DefenceTest : public HostileTest {
 protected:
  void Start(DaemonProcess::Options options);
  // Sound, serving, and without a trace of anybody.
  void ExpectUnharmed();
  // Until it holds no more descriptors than `before`.
  void ExpectNoMoreDescriptors(size_t before);
  size_t ResidentKiB() const;
  size_t Descriptors() const;

  std::unique_ptr<DaemonProcess> daemon_;
};

// For tests by VRAMPOOL_ATTACK.
class AttackTest : public DefenceTest {
 protected:
  virtual Served served() const { return Served::kHost; }
  virtual void Prepare() {}  // In the attacker, before Attack().
  virtual void Attack() = 0;

  void Run();

 private:
  void RunAttacker();
};

#define VRAMPOOL_ATTACK(fixture, name) \
  class name : public fixture {        \
   protected:                          \
    void Attack() override;            \
  };                                   \
  TEST_F(name, HarmsNobody) { Run(); } \
  void name::Attack()

#define VRAMPOOL_ATTACK_ON_EVERY_DEVICE(fixture, name)                        \
  class name : public fixture, public ::testing::WithParamInterface<Served> { \
   protected:                                                                 \
    Served served() const override { return GetParam(); }                     \
    void Attack() override;                                                   \
  };                                                                          \
  INSTANTIATE_TEST_SUITE_P(Devices, name, EveryDevice(), DeviceName());       \
  TEST_P(name, HarmsNobody) { Run(); }                                        \
  void name::Attack()

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_HOSTILE_HOSTILE_FIXTURE_H_
