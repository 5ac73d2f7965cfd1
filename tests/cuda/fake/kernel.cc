#include "tests/cuda/fake/kernel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "deploy/demo/kernels.h"
#include "deploy/demo/pattern.h"
#include "tests/cuda/fake/process.h"

namespace vrampool::fake_cuda {
namespace {

template <typename T>
T Argument(void** parameters, int index) {
  T value;
  std::memcpy(&value, parameters[index], sizeof(value));
  return value;
}

// Other processes and streams may use the same memory, as on a GPU.
using Word = std::atomic_ref<uint32_t>;

void Visit(uint64_t address, uint64_t bytes, Access needed,
           const AddressMap::Visitor& visit) {
  Process& process = Process::Get();
  if (!process.addresses().Visit(address, bytes, needed, visit)) {
    process.Break(cuda::kIllegalAddress);
  }
}

template <typename OnWord>
void EachWord(uint64_t address, uint64_t words, Access needed,
              const OnWord& on_word) {
  uint64_t index = 0;
  Visit(address, words * 4, needed, [&](void* piece, uint64_t bytes) {
    auto* const word = static_cast<uint32_t*>(piece);
    for (uint64_t i = 0; i < bytes / 4; ++i) on_word(Word(word[i]), index++);
  });
}

void AddTo(uint64_t out, uint64_t value) {
  Visit(out, 8, Access::kReadWrite, [value](void* piece, uint64_t) {
    std::atomic_ref<uint64_t>(*static_cast<uint64_t*>(piece)) += value;
  });
}

Work Spin(void** parameters) {
  const std::chrono::nanoseconds length(Argument<uint64_t>(parameters, 0));
  return [length] { std::this_thread::sleep_for(length); };
}

Work Fill(void** parameters) {
  return FillWords(Argument<uint64_t>(parameters, 0),
                   Argument<uint32_t>(parameters, 2),
                   Argument<uint64_t>(parameters, 1));
}

Work Mismatches(void** parameters) {
  return [address = Argument<uint64_t>(parameters, 0),
          words = Argument<uint64_t>(parameters, 1),
          value = Argument<uint32_t>(parameters, 2),
          out = Argument<uint64_t>(parameters, 3)] {
    uint64_t count = 0;
    EachWord(address, words, Access::kRead, [&](Word word, uint64_t) {
      if (word.load(std::memory_order_relaxed) != value) ++count;
    });
    AddTo(out, count);
  };
}

Work Checksum(void** parameters) {
  return [address = Argument<uint64_t>(parameters, 0),
          words = Argument<uint64_t>(parameters, 1),
          out = Argument<uint64_t>(parameters, 2)] {
    uint64_t sum = 0;
    EachWord(address, words, Access::kRead, [&](Word word, uint64_t index) {
      sum += uint64_t{word.load(std::memory_order_relaxed)} * (index + 1);
    });
    AddTo(out, sum);
  };
}

Work Pattern(void** parameters) {
  return [address = Argument<uint64_t>(parameters, 0),
          words = Argument<uint64_t>(parameters, 1),
          seed = Argument<uint64_t>(parameters, 2)] {
    EachWord(address, 2 * words, Access::kReadWrite,
             [seed](Word half, uint64_t index) {
               const uint64_t word = demo::PatternWord(seed, index / 2);
               half.store(static_cast<uint32_t>(word >> (32 * (index % 2))),
                          std::memory_order_relaxed);
             });
  };
}

Work FillUntil(void** parameters) {
  return [address = Argument<uint64_t>(parameters, 0),
          words = Argument<uint64_t>(parameters, 1),
          value = Argument<uint32_t>(parameters, 2),
          stop = Argument<uint64_t>(parameters, 3)] {
    const Work fill = FillWords(address, value, words);
    uint32_t stopped = 0;
    while (stopped == 0 && !Process::Get().is_broken()) {
      fill();
      EachWord(stop, 1, Access::kRead,
               [&](Word word, uint64_t) { stopped = word.load(); });
      std::this_thread::yield();
    }
  };
}

// Of client/python/vrampool/table_kernel.cu.
struct TableField {
  uint64_t column;
  uint32_t offset;
  uint32_t size;
};

void MoveBytes(uint64_t to, uint64_t from, uint32_t size) {
  char bytes[16];
  char* next = bytes;
  Visit(from, size, Access::kRead, [&next](void* piece, uint64_t length) {
    std::memcpy(next, piece, length);
    next += length;
  });
  next = bytes;
  Visit(to, size, Access::kReadWrite, [&next](void* piece, uint64_t length) {
    std::memcpy(piece, next, length);
    next += length;
  });
}

Work TurnTable(void** parameters) {
  const auto count = Argument<uint32_t>(parameters, 7);
  std::vector<TableField> fields(count);
  std::memcpy(fields.data(), parameters[8], count * sizeof(TableField));
  return [structures = Argument<uint64_t>(parameters, 0),
          arrays = Argument<uint64_t>(parameters, 1),
          rows = Argument<uint64_t>(parameters, 2),
          row_bytes = Argument<uint32_t>(parameters, 3),
          to_arrays = Argument<uint32_t>(parameters, 6) != 0, fields] {
    for (const TableField& field : fields) {
      for (uint64_t row = 0; row < rows; ++row) {
        const uint64_t one = structures + row * row_bytes + field.offset;
        const uint64_t other = arrays + field.column + row * field.size;
        MoveBytes(to_arrays ? other : one, to_arrays ? one : other,
                  std::min(field.size, uint32_t{16}));
      }
    }
  };
}

CUfunc_st g_kernels[] = {
    {"vrampool_turn_table", &TurnTable},
    {"vrampool_spin", &Spin},
    {"vrampool_fill", &Fill},
    {"vrampool_mismatches", &Mismatches},
    {"vrampool_fill_until", &FillUntil},
    {demo::kPatternKernel, &Pattern},
    {demo::kChecksumKernel, &Checksum},
};

}  // namespace

CUfunc_st* FindKernel(const std::string& ptx, const char* name) {
  if (ptx.find(std::string(".entry ") + name + "(") == std::string::npos) {
    return nullptr;
  }
  for (CUfunc_st& kernel : g_kernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

Work FillBytes(uint64_t address, unsigned char value, uint64_t bytes) {
  return [=] {
    Visit(address, bytes, Access::kReadWrite,
          [value](void* piece, uint64_t length) {
            std::memset(piece, value, length);
          });
  };
}

Work FillWords(uint64_t address, uint32_t value, uint64_t words) {
  return [=] {
    EachWord(address, words, Access::kReadWrite, [value](Word word, uint64_t) {
      word.store(value, std::memory_order_relaxed);
    });
  };
}

}  // namespace vrampool::fake_cuda
