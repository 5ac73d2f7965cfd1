// Memory and graphs: what a capture used is nobody else's while its graph can
// run again, nor while a launch of it is still under way.

#include <vector>

#include "tests/cuda/client_stream_rig.h"

namespace vrampool::testing {
namespace {

// A graph and what was made of it.
class TestGraph {
 public:
  explicit TestGraph(const Gpu& gpu) : gpu_(gpu) {}
  ~TestGraph() { Destroy(); }
  TestGraph(const TestGraph&) = delete;
  TestGraph& operator=(const TestGraph&) = delete;

  cuda::Graph* out() { return &graph_; }
  cuda::Graph get() const { return graph_; }
  void Instantiate() {
    gpu_.Expect(gpu_.test().GraphInstantiate(&exec_, graph_, 0),
                "making a graph executable");
  }
  void Launch(cuda::Stream stream) const {
    gpu_.Expect(gpu_.test().GraphLaunch(exec_, stream), "launching a graph");
  }
  void DestroyGraph() {
    if (graph_ != nullptr) (void)gpu_.test().GraphDestroy(graph_);
    graph_ = nullptr;
  }
  void Destroy() {
    DestroyGraph();
    if (exec_ != nullptr) (void)gpu_.test().GraphExecDestroy(exec_);
    exec_ = nullptr;
  }

 private:
  const Gpu& gpu_;
  cuda::Graph graph_ = nullptr;
  cuda::GraphExec exec_ = nullptr;
};

class ClientGraphTest : public StreamTest {
 protected:
  struct Block {
    void* at;
    uint64_t bytes;
  };

  void Begin(cuda::Stream stream) {
    const Status begun = client_.BeginCapture(stream);
    ASSERT_TRUE(begun.ok()) << begun.message();
    gpu_.Expect(gpu_.test().StreamBeginCapture(stream, cuda::kModeGlobal),
                "beginning a capture");
  }
  void End(cuda::Stream stream, TestGraph& graph) {
    gpu_.Expect(gpu_.test().StreamEndCapture(stream, graph.out()),
                "ending a capture");
    const Status ended = client_.EndCapture(stream, graph.get());
    ASSERT_TRUE(ended.ok()) << ended.message();
  }
  // A graph that writes kOld to a slab which was taken and given back within
  // it; executable. The slab.
  void* CaptureFill(cuda::Stream stream, TestGraph& graph) {
    Begin(stream);
    void* const used = Take(kSlab, stream);
    gpu_.Fill(stream, WordsAt(used, kSlab), kOld);
    Give(used, kSlab, stream);
    End(stream, graph);
    graph.Instantiate();
    return used;
  }

  // A graph that nobody was told of, which writes kOld to that slab.
  void CaptureUnannounced(cuda::Stream stream, void* used, TestGraph& graph,
                          bool is_given_within) {
    gpu_.Expect(gpu_.test().StreamBeginCapture(stream, cuda::kModeGlobal),
                "beginning a capture");
    gpu_.Fill(stream, WordsAt(used, kSlab), kOld);
    if (is_given_within) Give(used, kSlab, stream);
    gpu_.Expect(gpu_.test().StreamEndCapture(stream, graph.out()),
                "ending a capture");
  }

  // All that the stream can have beside, filled with kNew.
  std::vector<void*> TakeAllSlabs(cuda::Stream stream) {
    std::vector<void*> all;
    while (void* const p = client_.Allocate(kSlab, stream)) {
      all.push_back(p);
      gpu_.Fill(stream, WordsAt(p, kSlab), kNew);
    }
    EXPECT_EQ(vrampool_last_status(), VRAMPOOL_OVER_QUOTA);
    return all;
  }
  uint64_t CountLostIn(const std::vector<void*>& blocks, cuda::Stream stream) {
    uint64_t lost = 0;
    for (void* const p : blocks) {
      lost += gpu_.CountMismatches(stream, WordsAt(p, kSlab), kNew);
    }
    return lost;
  }
  void GiveAll(const std::vector<void*>& blocks, cuda::Stream stream) {
    for (void* const p : blocks) Give(p, kSlab, stream);
  }
  // The whole quota can be had again, as one block.
  bool IsAllFree(cuda::Stream stream) {
    return Eventually([&] {
      EXPECT_TRUE(client_.Quiesce().ok()) << vrampool_last_error_message();
      void* const all = client_.Allocate(kQuota, stream);
      if (all == nullptr) return false;
      Give(all, kQuota, stream);
      return true;
    });
  }
};

VRAMPOOL_INSTANTIATE_FOR_KINDS(ClientGraphTest);

// What the next tests look for: a graph that runs again over a slab which
// others have meanwhile. (Here on purpose: the capture is not announced to the
// client, and the slab is given back behind it.)
TEST_P(ClientGraphTest, ControlAGraphOverMemoryOfOthersIsSeen) {
  const TestStream stream(gpu_);
  TestGraph graph(gpu_);
  void* const used = Take(kSlab, stream.get());
  CaptureUnannounced(stream.get(), used, graph, false);
  graph.Instantiate();
  Give(used, kSlab, stream.get());
  const std::vector<void*> others = TakeAllSlabs(stream.get());
  EXPECT_EQ(others.size(), kQuota / kSlab);
  graph.Launch(stream.get());
  EXPECT_EQ(CountLostIn(others, stream.get()), kSlab / 4);
  GiveAll(others, stream.get());
}

// Shown to be able to fail: when captures are forgotten as they end, the slab
// is among those of the others.
TEST_P(ClientGraphTest, WhatACaptureUsedIsNotReusedWhileTheGraphCanRun) {
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  TestGraph graph(gpu_);
  void* const used = CaptureFill(stream.get(), graph);
  graph.DestroyGraph();  // The executable is enough to run it.
  graph.Launch(stream.get());
  std::vector<void*> mine = TakeAllSlabs(stream.get());
  EXPECT_EQ(mine.size(), kQuota / kSlab - 1);
  GiveAll(mine, stream.get());
  gpu_.Synchronize(stream.get());
  const std::vector<void*> others = TakeAllSlabs(other.get());
  EXPECT_EQ(others.size(), kQuota / kSlab - 1);
  gpu_.Synchronize(other.get());
  graph.Launch(stream.get());
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(used, kSlab), kOld), 0u);
  EXPECT_EQ(CountLostIn(others, other.get()), 0u);
  GiveAll(others, other.get());
  graph.Destroy();
  EXPECT_TRUE(IsAllFree(other.get()));
}

// Taken before the capture and given back in it; and taken in it, and given
// back after its end.
TEST_P(ClientGraphTest, WhatACaptureOnlyFreedOrOnlyTookIsKeptToo) {
  const TestStream stream(gpu_);
  const TestStream other(gpu_);
  TestGraph graph(gpu_);
  void* const before = Take(kSlab, stream.get());
  Begin(stream.get());
  gpu_.Fill(stream.get(), WordsAt(before, kSlab), kOld);
  Give(before, kSlab, stream.get());
  void* const within = Take(kSlab, stream.get());
  EXPECT_NE(within, before);  // Earlier work outside the graph may use it yet.
  gpu_.Fill(stream.get(), WordsAt(within, kSlab), kOld);
  End(stream.get(), graph);
  graph.Instantiate();
  graph.Launch(stream.get());
  Give(within, kSlab, stream.get());
  gpu_.Synchronize(stream.get());
  const std::vector<void*> others = TakeAllSlabs(other.get());
  EXPECT_EQ(others.size(), kQuota / kSlab - 2);
  gpu_.Synchronize(other.get());
  graph.Launch(stream.get());
  gpu_.Synchronize(stream.get());
  EXPECT_EQ(CountLostIn(others, other.get()), 0u);
  GiveAll(others, other.get());
  graph.Destroy();
  EXPECT_TRUE(IsAllFree(other.get()));
}

TEST_P(ClientGraphTest, WithinACaptureItsOwnMemoryIsUsedAgain) {
  const TestStream stream(gpu_);
  TestGraph graph(gpu_);
  Begin(stream.get());
  void* const first = Take(kSlab, stream.get());
  gpu_.Fill(stream.get(), WordsAt(first, kSlab), kOld);
  Give(first, kSlab, stream.get());
  void* const second = Take(kSlab, stream.get());
  EXPECT_EQ(second, first);
  gpu_.Fill(stream.get(), WordsAt(second, kSlab), kNew);
  End(stream.get(), graph);
  graph.Instantiate();
  graph.Launch(stream.get());
  EXPECT_EQ(gpu_.CountMismatches(stream.get(), WordsAt(second, kSlab), kNew),
            0u);
  Give(second, kSlab, stream.get());
  graph.Destroy();
  EXPECT_TRUE(IsAllFree(stream.get()));
}

// Graph and executable are gone, a launch is not: its memory is still its own,
// and becomes free when it is done.
TEST_P(ClientGraphTest, ALaunchUnderWayKeepsTheMemoryOfADestroyedGraph) {
  const TestStream stream(gpu_);
  const TestStream launching(gpu_);
  const TestStream other(gpu_);
  Gate gate(gpu_);
  TestGraph graph(gpu_);
  (void)CaptureFill(stream.get(), graph);
  gate.HoldBack(launching.get());
  graph.Launch(launching.get());
  graph.Destroy();
  const std::vector<void*> others = TakeAllSlabs(other.get());
  EXPECT_EQ(others.size(), kQuota / kSlab - 1);
  EXPECT_TRUE(IsBusy(launching)) << "a call has waited for the GPU";
  LetRun(gpu_, other.get());
  gate.Open();
  gpu_.Synchronize(launching.get());
  EXPECT_EQ(CountLostIn(others, other.get()), 0u);
  GiveAll(others, other.get());
  EXPECT_TRUE(IsAllFree(other.get()));
}

// All that they kept is unmapped then, and charged to nobody (~ClientRig).
TEST_P(ClientGraphTest, AClientThatIsClosedGivesBackWhatGraphsKeep) {
  const TestStream stream(gpu_);
  TestGraph graph(gpu_);
  (void)CaptureFill(stream.get(), graph);
  graph.Launch(stream.get());
  client_.Close();
}

TEST_P(ClientGraphTest, AClosedClientGivesBackWhatUnannouncedCapturesKeep) {
  vrampool_options options;
  vrampool_options_init(&options);
  options.kind = kind();
  options.slab_bytes = kSlab;
  options.detect_captures = 1;
  Result<Client> opened = Client::Open(&options);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  client_ = *std::move(opened);
  const TestStream stream(gpu_);
  TestGraph graph(gpu_);
  void* const used = Take(kSlab, stream.get());
  CaptureUnannounced(stream.get(), used, graph, true);
  client_.Close();
}

TEST_P(ClientGraphTest, ACaptureThatWasThrownAwayKeepsNothing) {
  const TestStream stream(gpu_);
  Begin(stream.get());
  void* const used = Take(kSlab, stream.get());
  gpu_.Fill(stream.get(), WordsAt(used, kSlab), kOld);
  Give(used, kSlab, stream.get());
  {
    TestGraph graph(gpu_);
    gpu_.Expect(gpu_.test().StreamEndCapture(stream.get(), graph.out()),
                "ending a capture");
  }
  EXPECT_TRUE(client_.EndCapture(stream.get(), nullptr).ok());
  EXPECT_TRUE(IsAllFree(stream.get()));
}

}  // namespace
}  // namespace vrampool::testing
