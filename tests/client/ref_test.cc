// References: what they keep, and when it ends.

#include "vrampool/ref.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "client/allocator/handles.h"
#include "gtest/gtest.h"
#include "tests/client/fake_daemon.h"

namespace vrampool::client {
namespace {

// As dlpack.h and the Arrow C Data Interface declare them.
struct Dl {
  void* data = nullptr;
  int32_t device[2] = {1, 0};
  int32_t ndim = 0;
  uint32_t dtype = 0;
  int64_t* shape = nullptr;
  int64_t* strides = nullptr;
  uint64_t byte_offset = 0;
};
struct DlManagedTensor {
  Dl tensor;
  void* manager_ctx = nullptr;
  void (*deleter)(void*) = nullptr;
};
struct DlManagedTensorVersioned {
  uint32_t version[2] = {1, 0};
  void* manager_ctx = nullptr;
  void (*deleter)(void*) = nullptr;
  uint64_t flags = 0;
  Dl tensor;
};
struct Array {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void** buffers;
  Array** children;
  Array* dictionary;
  void (*release)(void*);
  void* private_data;
};

template <typename T>
T* Malloced() {
  return new (std::malloc(sizeof(T))) T();
}

class RefTest : public ::testing::Test {
 protected:
  static constexpr size_t kBytes = 1000;

  void SetUp() override {
    vrampool_options options;
    vrampool_options_init(&options);
    const std::string directory = daemon_.MakeSettings().directory;
    options.directory = directory.c_str();
    auto opened = OpenClient(&options, daemon_.Channels());
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    raw_ = *opened;
    client_ = vrampool_ref_client(raw_);
    ASSERT_NE(client_, nullptr);
  }
  void* Allocate() { return vrampool_client_allocate(raw_, kBytes, nullptr); }
  vrampool_ref* Block() {
    return vrampool_ref_block(client_, Allocate(), kBytes, nullptr);
  }
  uint64_t LiveBlocks() {
    vrampool_usage usage{};
    usage.struct_size = sizeof(usage);
    EXPECT_EQ(vrampool_client_usage(raw_, &usage), VRAMPOOL_OK);
    return usage.live_blocks;
  }
  // The client is closed: its lease has gone back.
  bool IsClosed() {
    return daemon_.Await([](const auto& l) { return l.leases.empty(); });
  }

  TemporaryDirectory directory_;
  FakeDaemon daemon_{directory_.path()};
  vrampool_client* raw_ = nullptr;
  vrampool_ref* client_ = nullptr;
};

TEST_F(RefTest, ABlockIsGivenBackWithItsLastReference) {
  vrampool_ref* const block = Block();
  vrampool_ref_retain(block);
  vrampool_ref_release(block);
  EXPECT_EQ(LiveBlocks(), 1u);
  vrampool_ref_release(block);
  EXPECT_EQ(LiveBlocks(), 0u);
  vrampool_ref_release(client_);
  EXPECT_TRUE(IsClosed());
}

TEST_F(RefTest, AClientStaysOpenUntilItsLastBlockIsGivenBack) {
  vrampool_ref* const block = Block();
  vrampool_ref_release(client_);
  EXPECT_EQ(LiveBlocks(), 1u);
  vrampool_ref_release(block);
  EXPECT_TRUE(IsClosed());
}

TEST_F(RefTest, AnObjectIsClosedWithItsLastReference) {
  void* const p = Allocate();
  const vrampool_buffer buffer{p, kBytes};
  vrampool_object* object = nullptr;
  ASSERT_EQ(vrampool_share(raw_, &buffer, 1, nullptr, &object), VRAMPOOL_OK);
  vrampool_client_deallocate(raw_, p, kBytes, nullptr);
  vrampool_ref* const ref = vrampool_ref_object(client_, object, nullptr);
  ASSERT_NE(ref, nullptr);
  vrampool_ref_retain(ref);
  vrampool_ref_release(ref);
  const auto holds = [&] { return daemon_.ledger().holds.begin()->second; };
  ASSERT_EQ(daemon_.ledger().holds.size(), 1u);
  EXPECT_EQ(holds(), 1u);
  vrampool_ref_release(ref);
  EXPECT_EQ(holds(), 0u);
  vrampool_ref_release(client_);
}

TEST_F(RefTest, OnlyWhatIsTheClientsIsTakenOver) {
  char local[16];
  void* const p = Allocate();
  EXPECT_EQ(vrampool_ref_block(client_, local, 16, nullptr), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_NOT_FOUND);
  EXPECT_EQ(vrampool_ref_block(client_, p, kBytes - 1, nullptr), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(
      vrampool_ref_block(client_, static_cast<char*>(p) + 1, kBytes, nullptr),
      nullptr);
  EXPECT_EQ(vrampool_ref_block(nullptr, p, kBytes, nullptr), nullptr);
  EXPECT_EQ(vrampool_ref_client(nullptr), nullptr);
  EXPECT_EQ(vrampool_ref_object(client_, nullptr, nullptr), nullptr);
  vrampool_ref* const block = vrampool_ref_block(client_, p, kBytes, nullptr);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(vrampool_ref_block(block, p, kBytes, nullptr), nullptr);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  vrampool_ref_release(block);
  vrampool_ref_release(client_);
}

TEST_F(RefTest, AWatcherGetsTheMemoryOnlyWhileItLives) {
  vrampool_ref* const block = Block();
  vrampool_ref_watch(block);
  EXPECT_EQ(vrampool_ref_try_retain(block), 1);
  vrampool_ref_release(block);
  EXPECT_EQ(LiveBlocks(), 1u);
  vrampool_ref_release(block);
  EXPECT_EQ(LiveBlocks(), 0u);
  EXPECT_EQ(vrampool_ref_try_retain(block), 0);
  vrampool_ref_unwatch(block);
  vrampool_ref_release(client_);
}

TEST_F(RefTest, AReleaseLeavesTheErrorOfTheCallBeforeIt) {
  vrampool_ref* const block = Block();
  EXPECT_EQ(vrampool_unlink(raw_, nullptr), VRAMPOOL_INVALID_ARGUMENT);
  const std::string message = vrampool_last_error_message();
  vrampool_ref_release(block);
  EXPECT_EQ(vrampool_last_status(), VRAMPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(vrampool_last_error_message(), message);
  vrampool_ref_release(client_);
}

TEST_F(RefTest, DlpackStructuresReleaseOneReferenceEach) {
  vrampool_ref* const block = Block();
  vrampool_ref_retain(block);
  auto* const old = Malloced<DlManagedTensor>();
  old->manager_ctx = block;
  auto* const versioned = Malloced<DlManagedTensorVersioned>();
  versioned->manager_ctx = block;
  std::thread([&] { vrampool_dlpack_delete(old); }).join();
  EXPECT_EQ(LiveBlocks(), 1u);
  vrampool_dlpack_delete_versioned(versioned);
  EXPECT_EQ(LiveBlocks(), 0u);
  vrampool_ref_release(client_);
}

// A node with its pointer array in one piece, as the header asks for.
struct Owned {
  vrampool_ref* ref;
  Array* children[1];
  Array child;
};

Array Node(vrampool_ref* ref, bool has_child) {
  auto* const owned = Malloced<Owned>();
  owned->ref = ref;
  owned->children[0] = &owned->child;
  Array node{};
  node.n_children = has_child ? 1 : 0;
  node.children = owned->children;
  node.release = vrampool_arrow_release_array;
  node.private_data = owned;
  return node;
}

TEST_F(RefTest, AnArrowArrayReleasesItselfAndWhatIsLeftOfItsChildren) {
  vrampool_ref* const block = Block();
  vrampool_ref_retain(block);
  Array parent = Node(block, true);
  parent.children[0][0] = Node(block, false);
  Array moved = *parent.children[0];
  parent.children[0]->release = nullptr;
  parent.release(&parent);
  EXPECT_EQ(parent.release, nullptr);
  EXPECT_EQ(LiveBlocks(), 1u);  // The child lives on where it was moved.
  moved.release(&moved);
  EXPECT_EQ(LiveBlocks(), 0u);

  vrampool_ref* const again = Block();
  vrampool_ref_retain(again);
  Array whole = Node(again, true);
  whole.children[0][0] = Node(again, false);
  whole.release(&whole);
  EXPECT_EQ(LiveBlocks(), 0u);
  vrampool_ref_release(client_);
}

// A capsule as far as its two functions know it.
struct Capsule {
  std::string name;
  void* contents;
};
int IsValidCapsule(void* capsule, const char* name) {
  return static_cast<Capsule*>(capsule)->name == name ? 1 : 0;
}
void* CapsulePointer(void* capsule, const char*) {
  return static_cast<Capsule*>(capsule)->contents;
}

TEST_F(RefTest, ACapsuleDeletesWhatNobodyTookOut) {
  vrampool_capsule_use(reinterpret_cast<void*>(&IsValidCapsule),
                       reinterpret_cast<void*>(&CapsulePointer));
  vrampool_ref* const block = Block();
  auto* const managed = Malloced<DlManagedTensor>();
  managed->manager_ctx = block;
  Capsule taken{"used_dltensor", managed};
  vrampool_capsule_delete(&taken);
  EXPECT_EQ(LiveBlocks(), 1u);
  Capsule left{"dltensor", managed};
  vrampool_capsule_delete(&left);
  EXPECT_EQ(LiveBlocks(), 0u);

  auto* const array = Malloced<Array>();
  *array = Node(Block(), false);
  Capsule arrow{"arrow_array", array};
  vrampool_capsule_delete(&arrow);
  EXPECT_EQ(LiveBlocks(), 0u);
  auto* const moved = Malloced<Array>();  // Only its memory is left.
  Capsule device{"arrow_device_array", moved};
  vrampool_capsule_delete(&device);
  vrampool_ref_release(client_);
}

TEST_F(RefTest, ThreadsCountTogether) {
  vrampool_ref* const block = Block();
  vrampool_ref_watch(block);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    vrampool_ref_retain(block);
    threads.emplace_back([block] {
      for (int round = 0; round < 1000; ++round) {
        ASSERT_EQ(vrampool_ref_try_retain(block), 1);
        vrampool_ref_release(block);
      }
      vrampool_ref_release(block);
    });
  }
  vrampool_ref_release(block);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(vrampool_ref_try_retain(block), 0);
  EXPECT_EQ(LiveBlocks(), 0u);
  vrampool_ref_unwatch(block);
  vrampool_ref_release(client_);
}

}  // namespace
}  // namespace vrampool::client
