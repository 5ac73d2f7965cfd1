// Fuzzes what the daemon makes of one packet of a client: any bytes give a
// typed value, and every text in it is fit for a report.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "base/tensor_layout.h"
#include "daemon/attach/packet.h"
#include "daemon/core/clean_text.h"

namespace vrampool {
namespace {

void CheckLabel(const std::string& label) {
  VRAMPOOL_CHECK(label.size() <= 64);
  VRAMPOOL_CHECK(label.find('\0') == std::string::npos);
  VRAMPOOL_CHECK(CleanText(label, label.size()) == label);
}

// None, or one whose elements lie in the buffer, and which is written as it was
// read.
void CheckLayout(const std::string& bytes, uint64_t buffer_size) {
  if (bytes.empty()) return;
  std::string_view rest = bytes;
  const std::optional<TensorLayout> layout = TakeLayout(rest);
  VRAMPOOL_CHECK(layout.has_value() && rest.empty());
  VRAMPOOL_CHECK(LayoutProblem(*layout, buffer_size).empty());
  std::string again;
  AppendLayout(*layout, again);
  VRAMPOOL_CHECK(again == bytes);
}

void Check(std::string_view bytes) {
  const ClientPacket packet = ParseClientPacket(bytes);
  if (const auto* hello = std::get_if<HelloPacket>(&packet)) {
    VRAMPOOL_CHECK(bytes.size() == sizeof(attach::Packet<attach::Hello>));
    CheckLabel(hello->labels.name);
    CheckLabel(hello->labels.tag);
    CheckLabel(hello->labels.framework);
    CheckLabel(hello->library_version);
  } else if (const auto* released = std::get_if<HoldReleasedPacket>(&packet)) {
    VRAMPOOL_CHECK(bytes.size() ==
                   sizeof(attach::Packet<attach::HoldReleased>));
    VRAMPOOL_CHECK(
        bytes.substr(sizeof(attach::MessageHeader)) ==
        std::string_view(reinterpret_cast<const char*>(&released->object),
                         sizeof(released->object)));
  } else if (const auto* ready = std::get_if<ReadyPacket>(&packet)) {
    VRAMPOOL_CHECK(bytes.size() == sizeof(attach::Packet<attach::Ready>));
    VRAMPOOL_CHECK(ready->outcome == ReadyOutcome::kComplete ||
                   ready->outcome == ReadyOutcome::kFailed);
  } else if (std::holds_alternative<ClosedPacket>(packet)) {
    VRAMPOOL_CHECK(bytes.size() == sizeof(attach::Packet<attach::Closed>));
  } else if (const auto* shared = std::get_if<SharedPacket>(&packet)) {
    const std::string& layout = shared->share.layout;
    VRAMPOOL_CHECK(bytes.size() ==
                   sizeof(attach::Packet<attach::Shared>) + layout.size());
    const attach::Shared again = {
        .object_id = static_cast<uint64_t>(shared->share.object),
        .slab_id = static_cast<uint64_t>(shared->share.buffer.slab),
        .offset_bytes = shared->share.buffer.offset,
        .size_bytes = shared->share.buffer.size.count(),
        .flags = (shared->share.is_pending ? 1u : 0u) |
                 (shared->share.is_sealed ? 2u : 0u),
        .layout_bytes = static_cast<uint32_t>(layout.size())};
    const std::string_view body(reinterpret_cast<const char*>(&again),
                                sizeof(again));
    VRAMPOOL_CHECK(bytes.substr(sizeof(attach::MessageHeader)) ==
                   std::string(body) + layout);
    CheckLayout(layout, again.size_bytes);
  } else if (const auto* other = std::get_if<OtherVersionPacket>(&packet)) {
    VRAMPOOL_CHECK(other->version != attach::kVersion);
    (void)MakeRefused(attach::RefusedCode::kOtherVersion,
                      VersionRefusalText(other->version));
  } else {
    const auto& why = std::get<BadPacket>(packet).why;
    VRAMPOOL_CHECK(!why.empty() && CleanText(why, why.size()) == why);
  }
}

}  // namespace
}  // namespace vrampool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vrampool::Check({reinterpret_cast<const char*>(data), size});
  return 0;
}
