// Fuzzes what the daemon makes of a manifest: whatever a client writes into it
// is read within bounds, and every text in it is fit for a report.
//
// An input is a list of edits of a small manifest that reads cleanly: four
// bytes that say where (in words of eight, modulo the size), two that say how
// many words, then those words. So an input can reach any place of it, the
// marks of the header as well as the records at the end.

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "daemon/broker/manifest.h"
#include "daemon/core/clean_text.h"
#include "proto/shm/manifest.h"

namespace vrampool {
namespace {

constexpr uint64_t kCapacity = 256;
constexpr size_t kWord = sizeof(uint64_t);

class Target {
 public:
  Target() {
    auto made = Manifest::Create(SessionId{1}, Epoch{1}, kCapacity);
    VRAMPOOL_CHECK(made.ok());
    manifest_ = *std::move(made);
    const auto fd = manifest_->Duplicate();
    VRAMPOOL_CHECK(fd.ok());
    void* const mapped =
        ::mmap(nullptr, manifest_->bytes(), PROT_READ | PROT_WRITE, MAP_SHARED,
               fd->get(), 0);
    VRAMPOOL_CHECK(mapped != MAP_FAILED);
    memory_ = static_cast<char*>(mapped);
    clean_.assign(memory_, manifest_->bytes());
  }

  void Write(std::string_view edits) {
    for (const size_t at : written_) {
      std::memcpy(memory_ + at, clean_.data() + at, kWord);
    }
    written_.clear();
    const size_t words = clean_.size() / kWord;
    uint32_t where = 0;
    uint16_t count = 0;
    while (edits.size() >= sizeof(where) + sizeof(count)) {
      std::memcpy(&where, edits.data(), sizeof(where));
      std::memcpy(&count, edits.data() + sizeof(where), sizeof(count));
      edits.remove_prefix(sizeof(where) + sizeof(count));
      for (size_t i = 0; i < count && edits.size() >= kWord; ++i) {
        written_.push_back((where + i) % words * kWord);
        std::memcpy(memory_ + written_.back(), edits.data(), kWord);
        edits.remove_prefix(kWord);
      }
    }
  }

  void Check() const {
    VRAMPOOL_CHECK(manifest_->ReadLiveUse().blocks <= kCapacity);
    (void)manifest_->Holds(ObjectId{uint64_t{1} << kObjectSlotBits});
    for (const ModuleView& module : manifest_->ReadModules()) {
      VRAMPOOL_CHECK(module.begin < module.end);
      VRAMPOOL_CHECK(module.build_id.size() <=
                     2 * sizeof(shm::Module::build_id));
      VRAMPOOL_CHECK(CleanText(module.path, module.path.size()) == module.path);
    }
    uint64_t blocks = 0;
    const absl::Status read =
        manifest_->ForEachBlock([this, &blocks](const BlockRecordView& block) {
          ++blocks;
          VRAMPOOL_CHECK(CheckedAdd(Bytes(block.offset), Bytes(block.size)));
          VRAMPOOL_CHECK(block.tag.size() <= sizeof(shm::Tag::text));
          VRAMPOOL_CHECK(CleanText(block.tag, block.tag.size()) == block.tag);
          CheckStack(manifest_->ReadStack(block.stack));
          VRAMPOOL_CHECK(BlocksStoodFor(block.size, block.log2_interval) >= 1);
        });
    VRAMPOOL_CHECK(blocks <= kCapacity);
    VRAMPOOL_CHECK(read.ok() || !read.message().empty());
  }

 private:
  static void CheckStack(const std::vector<FrameView>& frames) {
    VRAMPOOL_CHECK(frames.size() <= shm::kStackFrames);
    for (const FrameView& frame : frames) {
      VRAMPOOL_CHECK(frame.text.size() <= sizeof(shm::FrameText::text));
      VRAMPOOL_CHECK(CleanText(frame.text, frame.text.size()) == frame.text);
    }
  }

  std::unique_ptr<Manifest> manifest_;
  char* memory_ = nullptr;
  std::string clean_;
  std::vector<size_t> written_;  // Where the last input did.
};

}  // namespace
}  // namespace vrampool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static vrampool::Target target;
  target.Write({reinterpret_cast<const char*>(data), size});
  target.Check();
  return 0;
}
