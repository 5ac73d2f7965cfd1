#include "daemon/config/fields.h"

#include "gtest/gtest.h"

namespace vrampool {
namespace {

TEST(FieldsTest, HandleKindsAreNamedAsInTheContract) {
  EXPECT_EQ(ParseHandleKind("HOST_FD"), HandleKind::kHostFd);
  EXPECT_EQ(ParseHandleKind("VMM_FD"), HandleKind::kVmmFd);
  EXPECT_EQ(ParseHandleKind("CUDA_IPC"), HandleKind::kCudaIpc);
  EXPECT_EQ(ParseHandleKind("host_fd"), std::nullopt);
  EXPECT_EQ(ParseHandleKind("NONE"), std::nullopt);
}

TEST(FieldsTest, SocketModesAreOctal) {
  EXPECT_EQ(ParseSocketMode("0660"), mode_t{0660});
  EXPECT_EQ(ParseSocketMode("660"), mode_t{0660});
  EXPECT_EQ(ParseSocketMode("0777"), mode_t{0777});
  EXPECT_EQ(ParseSocketMode("1777"), std::nullopt);
  EXPECT_EQ(ParseSocketMode("0668"), std::nullopt);
  EXPECT_EQ(ParseSocketMode("rw-rw----"), std::nullopt);
  EXPECT_EQ(ParseSocketMode("-1"), std::nullopt);
  EXPECT_EQ(ParseSocketMode(""), std::nullopt);
}

TEST(FieldsTest, SizesAndSharesAreToldApart) {
  EXPECT_EQ(ParseSizeOrShare("4GiB", GiB(16)), GiB(4));
  EXPECT_EQ(ParseSizeOrShare("75%", GiB(16)), GiB(12));
  EXPECT_EQ(ParseSizeOrShare("12.5 %", GiB(16)), GiB(2));
  EXPECT_EQ(ParseSizeOrShare("0.25", GiB(16)), GiB(4));
  EXPECT_EQ(ParseSizeOrShare("100%", Bytes(UINT64_MAX)), Bytes(UINT64_MAX));
  EXPECT_EQ(ParseSizeOrShare("4096", GiB(16)), Bytes(4096));
}

TEST(FieldsTest, SharesOutsideTheWholeAreNone) {
  EXPECT_EQ(ParseSizeOrShare("0%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("101%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("-5%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("nan%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("inf%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("5%%", GiB(16)), std::nullopt);
  EXPECT_EQ(ParseSizeOrShare("many", GiB(16)), std::nullopt);
}

}  // namespace
}  // namespace vrampool
