// Closing in the order of a stream: the hold ends with the work, and not
// before.

#include <thread>

#include "gmock/gmock.h"
#include "tests/client/order/order_fixture.h"

namespace vrampool::client {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

class CloseOrderTest : public OrderTest {
 protected:
  uint64_t HoldsOf(uint64_t object) { return daemon_.ledger().holds[object]; }
  bool AwaitNoHolds(uint64_t object) {
    return daemon_.Await([=](auto& l) { return l.holds.at(object) == 0; });
  }
};

TEST_F(CloseOrderTest, AHoldByCallEndsWhenTheWorkIsDone) {
  Held object = Share(std::nullopt);
  const uint64_t id = IdOf(object);
  driver_.Hold(stream_);
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  EXPECT_EQ(object, nullptr);
  driver_.AwaitSleeper();
  EXPECT_EQ(HoldsOf(id), 1u);
  driver_.Finish(stream_);
  EXPECT_TRUE(AwaitNoHolds(id));
}

TEST_F(CloseOrderTest, AHoldInTheManifestEndsWhenTheWorkIsDone) {
  Held object = Share(std::nullopt);
  const uint64_t id = IdOf(object);
  Result<Held> opened = client_->OpenToken(object->token, 0);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  ASSERT_THAT(daemon_.Holds(), ElementsAre(id));
  daemon_.SetSlot(object->token.object, shm::ObjectState::kWatched);
  driver_.Hold(stream_);
  ASSERT_TRUE(client_->CloseOn(*opened, stream_).ok());
  driver_.AwaitSleeper();
  EXPECT_THAT(daemon_.Holds(), ElementsAre(id));
  driver_.Finish(stream_);
  EXPECT_TRUE(daemon_.Await([](auto& l) { return l.released_holds == 1; }));
  EXPECT_THAT(daemon_.Holds(), ElementsAre(0u));
  client_->Close(std::move(object));
}

TEST_F(CloseOrderTest, TheMemoryStaysMappedUntilTheWorkIsDone) {
  const Token token = MakeForeign();
  Result<Held> object = client_->OpenToken(token, 0);
  ASSERT_TRUE(object.ok()) << object.status().message();
  driver_.Hold(stream_);
  ASSERT_TRUE(client_->CloseOn(*object, stream_).ok());
  ASSERT_TRUE(client_->Trim().ok());
  EXPECT_TRUE(daemon_.ledger().unmapped.empty());
  driver_.Finish(stream_);
  client_->Retire();
  EXPECT_THAT(daemon_.ledger().unmapped, Contains(900u));
}

TEST_F(CloseOrderTest, ACapturedStreamIsRefusedAndTheObjectStaysOpen) {
  Held object = Share(std::nullopt);
  const uint64_t id = IdOf(object);
  driver_.SetCapturing(stream_, true);
  EXPECT_EQ(client_->CloseOn(object, stream_).code(),
            VRAMPOOL_INVALID_ARGUMENT);
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(HoldsOf(id), 1u);
  ASSERT_TRUE(client_->CloseOn(object, other_).ok());
  EXPECT_TRUE(AwaitNoHolds(id));
}

TEST_F(CloseOrderTest, FailedWorkEndsTheHoldToo) {
  Held object = Share(std::nullopt);
  const uint64_t id = IdOf(object);
  driver_.Hold(stream_);
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  driver_.Finish(stream_, cuda::kIllegalAddress);
  EXPECT_TRUE(AwaitNoHolds(id));
}

TEST_F(CloseOrderTest, OnALostGpuTheHoldEndsAtOnce) {
  Held object = Share(std::nullopt);
  const uint64_t id = IdOf(object);
  driver_.FailNext("cuEventRecord", cuda::kIllegalAddress);
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  EXPECT_EQ(HoldsOf(id), 0u);
}

TEST_F(CloseOrderTest, TheEndOfTheClientWaitsForTheWork) {
  Held object = Share(std::nullopt);
  const uint64_t id = IdOf(object);
  driver_.Hold(stream_);
  ASSERT_TRUE(client_->CloseOn(object, stream_).ok());
  std::thread gpu([&] {
    driver_.AwaitSleeper();
    driver_.Finish(stream_);
  });
  client_->Retire();
  gpu.join();
  EXPECT_EQ(HoldsOf(id), 0u);
}

}  // namespace
}  // namespace vrampool::client
