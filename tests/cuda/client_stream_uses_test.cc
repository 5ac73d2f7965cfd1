// Blocks that a second stream uses, and that are freed on the first one without
// making it wait (vrampool_record_stream).

#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

class StreamUsesTest : public StreamTest {};
VRAMPOOL_INSTANTIATE_FOR_KINDS(StreamUsesTest);

// The second stream writes late. Without the call the first would have the
// block again at once (StreamReuseTest).
TEST_P(StreamUsesTest, TheStreamThatFreedDoesNotMeetTheOthersLateWriter) {
  const TestStream owner(gpu_);
  const TestStream user(gpu_);
  Gate gate(gpu_);
  void* const given = Take(kSlab, owner.get());
  ASSERT_TRUE(client_.RecordStream(given, user.get()).ok());
  gate.HoldBack(user.get());
  gpu_.Fill(user.get(), WordsAt(given, kSlab), kOld);
  Give(given, kSlab, owner.get());
  void* const got = Take(kSlab, owner.get());
  EXPECT_NE(got, given);
  EXPECT_TRUE(IsBusy(user)) << "a call has waited for the GPU";
  EXPECT_EQ(
      CountLost(gpu_, gate, {user.get(), owner.get(), WordsAt(got, kSlab)}),
      0u);
  Give(got, kSlab, owner.get());
}

TEST_P(StreamUsesTest, TheOwnersStreamDoesNotWaitForTheOther) {
  const TestStream owner(gpu_);
  const TestStream user(gpu_);
  Gate gate(gpu_);
  void* const given = Take(kSlab, owner.get());
  ASSERT_TRUE(client_.RecordStream(given, user.get()).ok());
  gate.HoldBack(user.get());
  Give(given, kSlab, owner.get());
  gpu_.Synchronize(owner.get());  // Returns: nothing was enqueued there.
  EXPECT_TRUE(IsBusy(user));
  gate.Open();
}

TEST_P(StreamUsesTest, TheBlockIsHadAgainWhenBothHaveDone) {
  const TestStream owner(gpu_);
  const TestStream user(gpu_);
  void* const given = Take(kSlab, owner.get());
  ASSERT_TRUE(client_.RecordStream(given, user.get()).ok());
  gpu_.Fill(user.get(), WordsAt(given, kSlab), kOld);
  Give(given, kSlab, owner.get());
  gpu_.Synchronize(user.get());
  gpu_.Synchronize(owner.get());
  EXPECT_EQ(Take(kSlab, owner.get()), given);
  EXPECT_EQ(leased_bytes(), kSlab);
  Give(given, kSlab, owner.get());
}

}  // namespace
}  // namespace vrampool::testing
