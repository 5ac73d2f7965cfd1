// Streams that write contents words themselves.

#include "client/order/contents_writer.h"

#include <unistd.h>

#include "base/cuda/driver.h"
#include "proto/shm/contents_words.h"
#include "tests/client/order/gate_fixture.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace vrampool::client {
namespace {

class ContentsWriterTest : public GateTest {
 protected:
  static constexpr uint64_t kBytes = 4096;

  ContentsWriterTest() {
    BlockRequest request;
    request.bytes = kBytes;
    block_ = *client_->Allocate(request);
    const shm::ContentsHeader header{.magic = shm::kContentsMagic,
                                     .version = shm::kContentsVersion,
                                     .slot_count = 8,
                                     .epoch = 1,
                                     .reserved = {}};
    EXPECT_EQ(::pwrite(file_.get(), &header, sizeof(header), 0),
              ssize_t{sizeof(header)});
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
  ContentsWords MapFile() {
    return *ContentsWords::Map(UniqueFd(::dup(file_.get())), kFileBytes,
                               Epoch{1});
  }

  static constexpr uint64_t kFileBytes = shm::ContentsBytes(8);
  const fake_cuda::Functions fake_ =
      fake_cuda::FindFunctions(cuda::FindDriverSymbol);
  const ObjectId object_ = MakeObjectId(3, 1);
  const UniqueFd file_ = MakeSealedFile(kFileBytes);
  void* block_ = nullptr;
};

TEST_F(ContentsWriterTest, AShareMakesItsStreamWriteTheWord) {
  // The event thread waits for this one, so it does not come to the next.
  testing::HostFlag never(gpu_);
  gpu_.api().StreamWaitValue32(other_, never.at(), 1, cuda::kWaitValueGeq);
  Held before = Share(other_);
  testing::HostFlag stop(gpu_);
  gpu_.api().StreamWaitValue32(stream_, stop.at(), 1, cuda::kWaitValueGeq);
  Held object = Share(stream_);
  EXPECT_EQ(WordOf(object->token.object), 0u);
  stop.Set();
  gpu_.Synchronize(stream_);
  EXPECT_EQ(WordOf(object->token.object),
            shm::CompleteWord(object->token.object));
  EXPECT_EQ(WordOf(before->token.object), 0u);
  never.Set();
  client_->Close(std::move(object));
  client_->Close(std::move(before));
}

// The event thread may be busy with what comes late.
TEST_F(ContentsWriterTest, WhoClosesWhatIsCompleteSaysThatItIsFirst) {
  testing::HostFlag never(gpu_);
  gpu_.api().StreamWaitValue32(other_, never.at(), 1, cuda::kWaitValueGeq);
  Held before = Share(other_);
  Held object = Share(stream_);
  const auto id = static_cast<uint64_t>(object->token.object);
  gpu_.Synchronize(stream_);
  client_->Close(std::move(object));
  ASSERT_TRUE(daemon_->Await([id](auto& l) { return l.holds.at(id) == 0; }));
  EXPECT_EQ(daemon_->ledger().ready.count(id), 1u);
  never.Set();
  client_->Close(std::move(before));
}

TEST_F(ContentsWriterTest, OneThatIsCapturedWritesNothing) {
  const ContentsWords words = MapFile();
  const auto writer = ContentsWriter::Register(client_->gpu(), words);
  ASSERT_NE(writer, nullptr);
  ASSERT_EQ(gpu_.test().StreamBeginCapture(stream_, cuda::kModeRelaxed),
            cuda::kSuccess);
  EXPECT_FALSE(writer->Enqueue(words, object_, stream_));
  cuda::Graph graph = nullptr;
  ASSERT_EQ(gpu_.test().StreamEndCapture(stream_, &graph), cuda::kSuccess);
  EXPECT_EQ(gpu_.test().GraphDestroy(graph), cuda::kSuccess);
  EXPECT_TRUE(writer->Enqueue(words, object_, stream_));
  gpu_.Synchronize(stream_);
  EXPECT_TRUE(words.IsComplete(object_));
}

TEST_F(ContentsWriterTest, OnlyWordsThatWereRegisteredAreWritten) {
  const ContentsWords words = MapFile();
  const auto writer = ContentsWriter::Register(client_->gpu(), words);
  ASSERT_NE(writer, nullptr);
  EXPECT_FALSE(writer->Enqueue(words, MakeObjectId(8, 1), stream_));
  const ContentsWords& others = client_->session()->contents();
  EXPECT_FALSE(writer->Enqueue(others, object_, stream_));
  const ContentsWords none = *ContentsWords::Map(UniqueFd(), 0, Epoch{1});
  EXPECT_EQ(ContentsWriter::Register(client_->gpu(), none), nullptr);
}

// Nobody may have them mapped any more when a stream gets there.
TEST_F(ContentsWriterTest, TheyStayWhereStreamsWriteThem) {
  auto writer = ContentsWriter::Register(client_->gpu(), MapFile());
  testing::HostFlag stop(gpu_);
  gpu_.api().StreamWaitValue32(stream_, stop.at(), 1, cuda::kWaitValueGeq);
  ASSERT_TRUE(writer->Enqueue(MapFile(), object_, stream_));
  writer.reset();  // It was not released: the stream is not done.
  stop.Set();
  gpu_.Synchronize(stream_);
  EXPECT_TRUE(MapFile().IsComplete(object_));
}

TEST_F(ContentsWriterTest, WhatAllHaveReleasedIsRegisteredNoMore) {
  const ContentsWords words = MapFile();
  void* const memory = words.region()->base();
  const auto is_registered = [&] {
    cuda::DevicePtr at = 0;
    return gpu_.api().MemHostGetDevicePointer(&at, memory, 0) == cuda::kSuccess;
  };
  for (int i = 0; i < 2; ++i) {
    const auto first = ContentsWriter::Register(client_->gpu(), words);
    // Finds it registered: it would wait for this stream.
    testing::HostFlag stop(gpu_);
    gpu_.api().StreamWaitValue32(stream_, stop.at(), 1, cuda::kWaitValueGeq);
    const auto second = ContentsWriter::Register(client_->gpu(), MapFile());
    ASSERT_TRUE(second->Enqueue(words, object_, stream_));
    stop.Set();
    gpu_.Synchronize(stream_);
    first->Release();
    EXPECT_TRUE(is_registered());
    second->Release();
    EXPECT_FALSE(is_registered());
  }
}

// As it does of the contents words of a client that is closed.
TEST_F(ContentsWriterTest, AClosedClientsAreWrittenAnewByTheNext) {
  EXPECT_TRUE(client_->Free(block_, kBytes).ok());
  client_.reset();
  auto next = Client::Open(daemon_->MakeSettings(), daemon_->Channels());
  ASSERT_TRUE(next.ok()) << next.status().message();
  client_ = *std::move(next);
  BlockRequest request;
  request.bytes = kBytes;
  block_ = *client_->Allocate(request);
  Held object = Share(stream_);
  gpu_.Synchronize(stream_);
  EXPECT_EQ(WordOf(object->token.object),
            shm::CompleteWord(object->token.object));
  client_->Close(std::move(object));
}

// Without it the event thread says when the contents are complete.
TEST_F(ContentsWriterTest, WhereTheDriverRefusesThereIsNone) {
  ASSERT_TRUE(fake_.fail("cuMemHostRegister_v2", cuda::kNotSupported, 1,
                         fake_cuda::kThisProcess));
  EXPECT_EQ(ContentsWriter::Register(client_->gpu(), MapFile()), nullptr);
  ASSERT_TRUE(fake_.fail("cuMemHostGetDevicePointer_v2", cuda::kNotSupported, 1,
                         fake_cuda::kThisProcess));
  EXPECT_EQ(ContentsWriter::Register(client_->gpu(), MapFile()), nullptr);
  const auto writer = ContentsWriter::Register(client_->gpu(), MapFile());
  ASSERT_NE(writer, nullptr);
  writer->Release();
}

}  // namespace
}  // namespace vrampool::client
