// The main of programs that use streams of a GPU beside a daemon.

#include <cstdlib>

#include "gtest/gtest.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  // A real GPU runs streams that share a queue one behind the other: enough
  // queues for all streams of a test.
  ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 1);
  // And it loads a kernel with its first launch, which waits for all work: not
  // while a test holds a stream back.
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 1);
  return RUN_ALL_TESTS();
}
