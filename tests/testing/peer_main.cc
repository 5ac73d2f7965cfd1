// main() of tests that start peers (daemon/device/cuda/peer_process.h): a peer
// is the same program run anew.

#include "daemon/device/cuda/peer_process.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

int main(int argc, char** argv) {
  if (const auto code = vrampool::PeerProcess::RunIfAsked(argc, argv)) {
    return *code;
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
