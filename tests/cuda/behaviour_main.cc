// The behaviour suite's main: fake devices for the fake driver, for the whole
// program.

#include "gtest/gtest.h"
#include "tests/cuda/fake_directory.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const vrampool::testing::OwnFakeDirectory devices;
  return RUN_ALL_TESTS();
}
