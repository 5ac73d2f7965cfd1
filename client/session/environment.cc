#include "client/session/environment.h"

#include <errno.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/status_macros.h"
#include "client/session/control_channel.h"

namespace vrampool::client {
namespace {

constexpr Bytes kMaxSlab = GiB(1024);

// The option, else the variable, else what `target` is.
void Choose(const char* option, const char* variable, std::string& target) {
  const char* text = option != nullptr ? option : std::getenv(variable);
  if (text != nullptr && *text != '\0') target = text;
}

Status ChooseMs(int64_t option, const char* variable, uint64_t& target) {
  if (option >= 0) {
    target = static_cast<uint64_t>(option);
  } else if (const char* const text = std::getenv(variable);
             text != nullptr && *text != '\0') {
    const std::string_view view(text);
    const auto [end, error] =
        std::from_chars(view.data(), view.data() + view.size(), target);
    if (error != std::errc() || end != view.data() + view.size()) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              std::string(variable) + "=\"" + text +
                  "\" is no number of milliseconds; set it to one, like 500"};
    }
  }
  if (target > kMaxWaitMs) target = kMaxWaitMs;
  return {};
}

Status ChooseSlab(uint64_t option, Bytes& target) {
  if (option != 0) {
    target = Bytes(option);
  } else if (const char* const text = std::getenv("VRAMPOOL_SLAB_SIZE");
             text != nullptr && *text != '\0') {
    const std::optional<Bytes> size = ParseBytes(text);
    if (!size.has_value()) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              std::string("VRAMPOOL_SLAB_SIZE=\"") + text +
                  "\" is no size; set it to one, like 64MiB"};
    }
    target = *size;
  }
  if (target.is_zero() || target > kMaxSlab) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "a slab size of " + FormatBytes(target) +
                " is not possible; choose one between 1 B and " +
                FormatBytes(kMaxSlab)};
  }
  return {};
}

}  // namespace

Result<Settings> ResolveSettings(const vrampool_options* options) {
  vrampool_options given;
  vrampool_options_init(&given);
  if (options != nullptr) {
    if (options->struct_size != sizeof(vrampool_options)) {
      return Status(VRAMPOOL_INVALID_ARGUMENT,
                    "vrampool_options.struct_size is not that of this library; "
                    "call vrampool_options_init() first, and build against the "
                    "header of the installed version");
    }
    given = *options;
  }
  Settings settings;
  settings.name = program_invocation_short_name;
  Choose(given.directory, "VRAMPOOL_DIR", settings.directory);
  Choose(given.device, "VRAMPOOL_DEVICE", settings.device);
  Choose(given.name, "VRAMPOOL_NAME", settings.name);
  Choose(given.tag, "VRAMPOOL_TAG", settings.tag);
  Choose(given.framework, "VRAMPOOL_FRAMEWORK", settings.framework);
  VRAMPOOL_RETURN_IF_ERROR(ChooseSlab(given.slab_bytes, settings.slab));
  VRAMPOOL_RETURN_IF_ERROR(
      ChooseMs(given.wait_ms, "VRAMPOOL_WAIT_MS", settings.wait_ms));
  VRAMPOOL_RETURN_IF_ERROR(
      ChooseMs(given.idle_ms, "VRAMPOOL_IDLE_MS", settings.idle_ms));
  return settings;
}

}  // namespace vrampool::client
