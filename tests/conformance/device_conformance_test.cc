#include "tests/conformance/device_conformance.h"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/matchers.h"

namespace vrampool::testing {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DeviceConformanceTest);

absl::Status DeviceConformanceTest::Create(SlabId id, Bytes size) {
  return device().Create(id, size, device().info().kinds.front());
}

std::unique_ptr<MappedSlab> DeviceConformanceTest::MapHere(SlabId id,
                                                           Bytes size) {
  absl::StatusOr<ExportedHandle> handle = device().Export(id);
  EXPECT_THAT(handle, IsOk());
  if (!handle.ok()) return nullptr;
  std::unique_ptr<MappedSlab> slab = GetParam().map(*std::move(handle), size);
  EXPECT_NE(slab, nullptr);
  return slab;
}

::testing::AssertionResult DeviceConformanceTest::MapInOther(SlabId id,
                                                             Bytes size) {
  absl::StatusOr<ExportedHandle> handle = device().Export(id);
  if (!handle.ok()) {
    return ::testing::AssertionFailure() << handle.status().ToString();
  }
  if (!other_->Map(*std::move(handle), size)) {
    return ::testing::AssertionFailure() << "the other process cannot map it";
  }
  return ::testing::AssertionSuccess();
}

Bytes DeviceConformanceTest::Unreleased() {
  const absl::StatusOr<Bytes> bytes = device().Unreleased();
  EXPECT_THAT(bytes, IsOk());
  return bytes.value_or(Bytes());
}

namespace {

constexpr SlabId kFirst{1};
constexpr SlabId kSecond{2};

// One slab from its creation to its end, as one of many threads does it.
bool LiveOneLife(Device& device, Mapper map, SlabId id) {
  const Bytes size = device.info().granule;
  const uint8_t mark =
      static_cast<uint8_t>(1 + static_cast<uint64_t>(id) % 255);
  if (!device.Create(id, size, device.info().kinds.front()).ok()) return false;
  absl::StatusOr<ExportedHandle> handle = device.Export(id);
  if (!handle.ok()) return false;
  const std::unique_ptr<MappedSlab> slab = map(*std::move(handle), size);
  if (slab == nullptr || !slab->IsFilledWith(0)) return false;
  slab->Fill(mark);
  if (!device.Destroy(id).ok() || !device.Unreleased().ok()) return false;
  return slab->IsFilledWith(mark);
}

TEST_P(DeviceConformanceTest, SaysWhatItIs) {
  const DeviceInfo& info = device().info();
  EXPECT_FALSE(info.uuid.empty());
  EXPECT_EQ(info.uuid.find_first_not_of(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789._-"),
            std::string::npos);
  EXPECT_FALSE(info.granule.is_zero());
  EXPECT_EQ(info.granule.count() & (info.granule.count() - 1), 0u);
  EXPECT_GE(info.total, info.granule);
  EXPECT_FALSE(info.kinds.empty());
  EXPECT_THAT(device().Health(), IsOk());
}

TEST_P(DeviceConformanceTest, AFreshSlabReadsAsZerosToItsLastByte) {
  ASSERT_THAT(Create(kFirst, two_granules()), IsOk());
  const auto slab = MapHere(kFirst, two_granules());
  ASSERT_NE(slab, nullptr);
  EXPECT_TRUE(slab->IsFilledWith(0));
}

TEST_P(DeviceConformanceTest, ASlabAfterAUsedOneReadsAsZeros) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  MapHere(kFirst, granule())->Fill(0xa5);
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  ASSERT_THAT(Create(kSecond, granule()), IsOk());
  EXPECT_TRUE(MapHere(kSecond, granule())->IsFilledWith(0));
}

TEST_P(DeviceConformanceTest, AllHandlesOfASlabLeadToTheSameBytes) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  const auto one = MapHere(kFirst, granule());
  const auto two = MapHere(kFirst, granule());
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  one->Fill(7);
  EXPECT_TRUE(two->IsFilledWith(7));
}

TEST_P(DeviceConformanceTest, AnotherProcessSharesTheBytes) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  const auto here = MapHere(kFirst, granule());
  ASSERT_NE(here, nullptr);
  ASSERT_TRUE(MapInOther(kFirst, granule()));
  ASSERT_TRUE(other().Fill(9));
  EXPECT_TRUE(here->IsFilledWith(9));
  here->Fill(10);
  EXPECT_TRUE(other().IsFilledWith(10));
}

TEST_P(DeviceConformanceTest, SlabsDoNotShareBytes) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  ASSERT_THAT(Create(kSecond, granule()), IsOk());
  const auto one = MapHere(kFirst, granule());
  const auto two = MapHere(kSecond, granule());
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  one->Fill(1);
  EXPECT_TRUE(two->IsFilledWith(0));
}

TEST_P(DeviceConformanceTest, AnUnknownSlabIsNotFound) {
  EXPECT_THAT(device().Destroy(kFirst), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(device().Export(kFirst), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(DeviceConformanceTest, ADestroyedSlabIsNotFound) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  EXPECT_THAT(device().Destroy(kFirst), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(device().Export(kFirst), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(DeviceConformanceTest, CreatingWithoutRoomFailsAndChangesNothing) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  const auto first = MapHere(kFirst, granule());
  ASSERT_NE(first, nullptr);
  first->Fill(3);
  under_test().TakeRoom();
  const absl::Status refused = Create(kSecond, granule());
  under_test().GiveRoomBack();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(device().Export(kSecond), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(first->IsFilledWith(3));
  EXPECT_THAT(device().Health(), IsOk());
  EXPECT_THAT(Create(kSecond, granule()), IsOk());
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_P(DeviceConformanceTest, AMappedSlabThatExistsIsNotUnreleased) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  ASSERT_TRUE(MapInOther(kFirst, granule()));
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_P(DeviceConformanceTest, ADestroyedSlabIsUnreleasedUntilItsHolderLetsGo) {
  ASSERT_THAT(Create(kFirst, two_granules()), IsOk());
  ASSERT_TRUE(MapInOther(kFirst, two_granules()));
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  EXPECT_EQ(Unreleased(), two_granules());
  EXPECT_EQ(Unreleased(), two_granules());
  ASSERT_TRUE(other().Unmap());
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_P(DeviceConformanceTest, ADestroyedSlabIsReleasedWhenItsHolderIsKilled) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  ASSERT_TRUE(MapInOther(kFirst, granule()));
  ASSERT_TRUE(other().Fill(1));
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  EXPECT_EQ(Unreleased(), granule());
  other().Kill();
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_P(DeviceConformanceTest, TheLastOfSeveralHoldersReleases) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  auto here = MapHere(kFirst, granule());
  ASSERT_TRUE(MapInOther(kFirst, granule()));
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  ASSERT_TRUE(other().Unmap());
  EXPECT_EQ(Unreleased(), granule());
  here.reset();
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_P(DeviceConformanceTest, AnOldHolderAndANewSlabDoNotTouchEachOther) {
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  ASSERT_TRUE(MapInOther(kFirst, granule()));
  ASSERT_TRUE(other().Fill(0xaa));
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  ASSERT_THAT(Create(kSecond, granule()), IsOk());
  const auto second = MapHere(kSecond, granule());
  ASSERT_NE(second, nullptr);
  EXPECT_TRUE(second->IsFilledWith(0));
  second->Fill(0xbb);
  EXPECT_TRUE(other().IsFilledWith(0xaa));
  ASSERT_TRUE(other().Fill(0xcc));
  EXPECT_TRUE(second->IsFilledWith(0xbb));
  EXPECT_EQ(Unreleased(), granule());
}

TEST_P(DeviceConformanceTest, ThreadsMakeAndDestroySlabsAtTheSameTime) {
  constexpr int kThreads = 8;
  constexpr uint64_t kLives = 12;
  std::atomic<uint64_t> good_lives{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 1; i <= kLives; ++i) {
        if (LiveOneLife(device(), GetParam().map, SlabId{t * 1000 + i})) {
          ++good_lives;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good_lives, kThreads * kLives);
  EXPECT_EQ(Unreleased(), Bytes());
}

TEST_P(DeviceConformanceTest, TheRoomForSlabsIsWhatIsFreeAndWhatSlabsHave) {
  const absl::StatusOr<DeviceUse> before = device().Use();
  ASSERT_THAT(before, IsOk());
  EXPECT_EQ(before->slabs, Bytes());
  EXPECT_GE(before->total, before->free);
  ASSERT_THAT(Create(kFirst, two_granules()), IsOk());
  const absl::StatusOr<DeviceUse> with = device().Use();
  ASSERT_THAT(with, IsOk());
  EXPECT_EQ(with->slabs, two_granules());
  EXPECT_LE(with->free, before->free);
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  const absl::StatusOr<DeviceUse> after = device().Use();
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->slabs, Bytes());
}

TEST_P(DeviceConformanceTest, WhatAHolderKeepsIsNoRoomUntilHeLetsGo) {
  ASSERT_THAT(Create(kFirst, two_granules()), IsOk());
  ASSERT_TRUE(MapInOther(kFirst, two_granules()));
  ASSERT_THAT(device().Destroy(kFirst), IsOk());
  const absl::StatusOr<DeviceUse> held = device().Use();
  ASSERT_THAT(held, IsOk());
  ASSERT_TRUE(other().Unmap());
  const absl::StatusOr<DeviceUse> released = device().Use();
  ASSERT_THAT(released, IsOk());
  EXPECT_EQ(released->free, held->free + two_granules());
}

TEST_P(DeviceConformanceTest, EveryKindOnOfferCanBeMadeBesideTheOthers) {
  uint64_t id = 0;
  for (const HandleKind kind : device().info().kinds) {
    ASSERT_THAT(device().Create(SlabId{++id}, granule(), kind), IsOk());
    const absl::StatusOr<ExportedHandle> handle = device().Export(SlabId{id});
    ASSERT_THAT(handle, IsOk());
    EXPECT_EQ(handle->kind, kind);
    ASSERT_TRUE(MapInOther(SlabId{id}, granule()));
    EXPECT_TRUE(other().IsFilledWith(0));
    ASSERT_TRUE(other().Unmap());
  }
}

TEST_P(DeviceConformanceTest, OneOfManyDestroysOfASlabSucceeds) {
  constexpr int kThreads = 8;
  ASSERT_THAT(Create(kFirst, granule()), IsOk());
  std::atomic<int> succeeded{0};
  std::atomic<int> not_found{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      const absl::Status status = device().Destroy(kFirst);
      if (status.ok()) ++succeeded;
      if (absl::IsNotFound(status)) ++not_found;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(succeeded, 1);
  EXPECT_EQ(not_found, kThreads - 1);
}

}  // namespace
}  // namespace vrampool::testing
