// Streams that write contents words themselves.

#include "client/order/contents_writer.h"

#include <unistd.h>

#include "proto/shm/contents_words.h"
#include "tests/client/order/gate_fixture.h"

namespace vrampool::client {
namespace {

class ContentsWriterTest : public GateTest {
 protected:
  static constexpr uint64_t kBytes = 4096;

  ContentsWriterTest() {
    BlockRequest request;
    request.bytes = kBytes;
    block_ = *client_->Allocate(request);
  }
  Held Share(cuda::Stream stream) {
    Client::ShareRequest request;
    request.buffers = {{block_, kBytes}};
    request.stream = stream;
    Result<Held> held = client_->Share(std::move(request));
    EXPECT_TRUE(held.ok()) << held.status().message();
    return held.ok() ? *std::move(held) : nullptr;
  }
  uint32_t WordOf(ObjectId object) {
    return daemon_->ContentsWord(object).load();
  }
  bool Enqueue(ObjectId object, cuda::Stream stream) {
    return ContentsWriter::Enqueue(
        *client_->gpu(), client_->session()->contents(), object, stream);
  }

  void* block_ = nullptr;
};

TEST_F(ContentsWriterTest, AShareMakesItsStreamWriteTheWord) {
  testing::HostFlag stop(gpu_);
  gpu_.api().StreamWaitValue32(stream_, stop.at(), 1, cuda::kWaitValueGeq);
  Held object = Share(stream_);
  gpu_.Synchronize(other_);
  EXPECT_EQ(WordOf(object->token.object), 0u);
  stop.Set();
  gpu_.Synchronize(stream_);  // And not the thread that says so, too.
  EXPECT_EQ(WordOf(object->token.object),
            shm::CompleteWord(object->token.object));
  client_->Close(std::move(object));
}

TEST_F(ContentsWriterTest, OneThatIsCapturedWritesNothing) {
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream_, cuda::kModeRelaxed),
            cuda::kSuccess);
  EXPECT_FALSE(Enqueue(MakeObjectId(3, 1), stream_));
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamEndCapture(stream_, &graph), cuda::kSuccess);
  EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
  EXPECT_TRUE(Enqueue(MakeObjectId(3, 1), stream_));
  gpu_.Synchronize(stream_);
  EXPECT_EQ(WordOf(MakeObjectId(3, 1)), 1u);
}

TEST_F(ContentsWriterTest, AnObjectWithoutAWordIsNotWritten) {
  EXPECT_FALSE(Enqueue(MakeObjectId(kObjectSlotMask, 1), stream_));
}

// Nobody may have them mapped any more when a stream gets there.
TEST_F(ContentsWriterTest, TheyStayWhereStreamsWriteThem) {
  shm::ContentsHeader header{.magic = shm::kContentsMagic,
                             .version = shm::kContentsVersion,
                             .slot_count = 8,
                             .epoch = 1,
                             .reserved = {}};
  constexpr uint64_t kSize = shm::ContentsBytes(8);
  const UniqueFd file = MakeSealedFile(kSize);
  ASSERT_EQ(::pwrite(file.get(), &header, sizeof(header), 0),
            ssize_t{sizeof(header)});
  const auto map = [&file] {
    return *ContentsWords::Map(UniqueFd(::dup(file.get())), kSize, Epoch{1});
  };
  ContentsWriter::Register(*client_->gpu(), map());
  testing::HostFlag stop(gpu_);
  gpu_.api().StreamWaitValue32(stream_, stop.at(), 1, cuda::kWaitValueGeq);
  {
    const ContentsWords words = map();
    ASSERT_TRUE(ContentsWriter::Enqueue(*client_->gpu(), words,
                                        MakeObjectId(3, 1), stream_));
  }
  stop.Set();
  gpu_.Synchronize(stream_);
  EXPECT_TRUE(map().IsComplete(MakeObjectId(3, 1)));
}

// A second client of the tenant finds them registered.
TEST_F(ContentsWriterTest, TheyAreRegisteredOnceForAllClients) {
  auto second = Client::Open(daemon_->MakeSettings(), daemon_->Channels());
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_TRUE(ContentsWriter::Enqueue(*(*second)->gpu(),
                                      (*second)->session()->contents(),
                                      MakeObjectId(3, 1), stream_));
  gpu_.Synchronize(stream_);
  EXPECT_EQ(WordOf(MakeObjectId(3, 1)), 1u);
}

}  // namespace
}  // namespace vrampool::client
