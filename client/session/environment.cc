#include "client/session/environment.h"

#include <errno.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/status_macros.h"
#include "client/session/control_channel.h"
#include "client/session/leak_check.h"
#include "client/session/struct_prefix.h"

namespace vrampool::client {
namespace {

constexpr Bytes kMaxSlab = GiB(1024);
constexpr Bytes kMaxReserve = GiB(64 * 1024);

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

// `what` is the option's name in a message.
Status ChooseSize(uint64_t option, const char* variable, const char* what,
                  Bytes most, Bytes& target) {
  if (option != 0) {
    target = Bytes(option);
  } else if (const char* const text = std::getenv(variable);
             text != nullptr && *text != '\0') {
    const std::optional<Bytes> size = ParseBytes(text);
    if (!size.has_value()) {
      return {VRAMPOOL_INVALID_ARGUMENT,
              std::string(variable) + "=\"" + text +
                  "\" is no size; set it to one, like 64MiB"};
    }
    target = *size;
  }
  if (target > most) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            std::string(what) + " of " + FormatBytes(target) +
                " is not possible; choose one up to " + FormatBytes(most)};
  }
  return {};
}

Status ChooseKind(vrampool_kind option, HandleKind& target) {
  constexpr HandleKind kKinds[] = {HandleKind::kCudaIpc, HandleKind::kVmmFd,
                                   HandleKind::kHostFd};
  std::string name;
  Choose(nullptr, "VRAMPOOL_KIND", name);
  if (option == VRAMPOOL_KIND_NONE && name.empty()) return {};
  for (const HandleKind kind : kKinds) {
    const bool is_chosen =
        option != VRAMPOOL_KIND_NONE
            ? static_cast<int>(option) == static_cast<int>(kind)
            : name == HandleKindName(kind);
    if (is_chosen) {
      target = kind;
      return {};
    }
  }
  return {VRAMPOOL_INVALID_ARGUMENT,
          "there is no kind of memory " +
              (option != VRAMPOOL_KIND_NONE
                   ? std::to_string(static_cast<int>(option))
                   : "\"" + name + "\" (VRAMPOOL_KIND)") +
              "; choose CUDA_IPC, VMM_FD or HOST_FD"};
}

Status ChooseSwitch(int option, const char* variable, bool& target) {
  std::string text;
  Choose(nullptr, variable, text);
  if (option < 0 && text.empty()) return {};
  if (option < 0 && text != "0" && text != "1") {
    return {VRAMPOOL_INVALID_ARGUMENT, std::string(variable) + "=\"" + text +
                                           "\" is no switch; set it to 0 or 1"};
  }
  target = option < 0 ? text == "1" : option != 0;
  return {};
}

// "1", or words that each mean it: "protect,abort".
Status ChooseDebug(const char* option, DebugSettings& target) {
  std::string text;
  Choose(option, "VRAMPOOL_DEBUG", text);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    if (word == "0" && word.size() == text.size()) return {};
    target.is_on = true;
    if (word == "abort") {
      target.aborts = true;
    } else if (word == "protect") {
      target.protects = true;
    } else if (word != "1") {
      return {VRAMPOOL_INVALID_ARGUMENT,
              "\"" + text +
                  "\" is no debug mode (VRAMPOOL_DEBUG); choose 0, 1, abort, "
                  "protect, or \"protect,abort\""};
    }
  }
  return {};
}

// "off", "all", or about how many bytes there are to one stack. A leak check is
// for tests, and better the same each time.
Status ChooseStacks(const char* option, StackSettings& target) {
  constexpr uint64_t kLeast = 1024;
  std::string text;
  Choose(option, "VRAMPOOL_STACKS", text);
  if (text.empty()) {
    if (IsLeakCheckWanted()) target.mode = StackSettings::Mode::kAll;
    return {};
  }
  if (text == "off" || text == "all") {
    target.mode =
        text == "off" ? StackSettings::Mode::kOff : StackSettings::Mode::kAll;
    return {};
  }
  const std::optional<Bytes> interval = ParseBytes(text);
  if (!interval || interval->count() < kLeast || *interval > kMaxReserve) {
    return {VRAMPOOL_INVALID_ARGUMENT,
            "\"" + text +
                "\" says not of which allocations to record the stack "
                "(VRAMPOOL_STACKS); choose off, all, or a number of bytes from "
                "1KiB up, of which one is looked at: \"4MiB\""};
  }
  target.log2_interval =
      static_cast<unsigned>(std::bit_width(interval->count()) - 1);
  return {};
}

Status CopyGiven(const vrampool_options& options, vrampool_options& given) {
  constexpr size_t kFirstVersion = offsetof(vrampool_options, kind);
  if (TakePrefix(options, kFirstVersion, given)) return {};
  return {VRAMPOOL_INVALID_ARGUMENT,
          "vrampool_options.struct_size is not one that this library knows; "
          "call vrampool_options_init() first, and build against the header "
          "of the installed version"};
}

}  // namespace

Result<Settings> ResolveSettings(const vrampool_options* options) {
  vrampool_options given;
  vrampool_options_init(&given);
  if (options != nullptr) {
    VRAMPOOL_RETURN_IF_ERROR(CopyGiven(*options, given));
  }
  Settings settings;
  settings.name = program_invocation_short_name;
  Choose(given.directory, "VRAMPOOL_DIR", settings.directory);
  Choose(given.device, "VRAMPOOL_DEVICE", settings.device);
  Choose(given.name, "VRAMPOOL_NAME", settings.name);
  Choose(given.tag, "VRAMPOOL_TAG", settings.tag);
  Choose(given.framework, "VRAMPOOL_FRAMEWORK", settings.framework);
  VRAMPOOL_RETURN_IF_ERROR(ChooseSize(given.slab_bytes, "VRAMPOOL_SLAB_SIZE",
                                      "a slab size", kMaxSlab, settings.slab));
  VRAMPOOL_RETURN_IF_ERROR(ChooseSize(given.reserve_bytes, "VRAMPOOL_RESERVE",
                                      "a reserve", kMaxReserve,
                                      settings.reserve));
  // Who chooses the size of slabs chooses all that is leased.
  settings.leases_ahead = settings.slab.is_zero();
  VRAMPOOL_RETURN_IF_ERROR(ChooseSwitch(
      given.lease_ahead, "VRAMPOOL_LEASE_AHEAD", settings.leases_ahead));
  VRAMPOOL_RETURN_IF_ERROR(
      ChooseMs(given.wait_ms, "VRAMPOOL_WAIT_MS", settings.wait_ms));
  VRAMPOOL_RETURN_IF_ERROR(
      ChooseMs(given.idle_ms, "VRAMPOOL_IDLE_MS", settings.idle_ms));
  VRAMPOOL_RETURN_IF_ERROR(ChooseKind(given.kind, settings.kind));
  VRAMPOOL_RETURN_IF_ERROR(ChooseSwitch(given.detect_captures,
                                        "VRAMPOOL_DETECT_CAPTURES",
                                        settings.detects_captures));
  VRAMPOOL_RETURN_IF_ERROR(ChooseDebug(given.debug, settings.debug));
  VRAMPOOL_RETURN_IF_ERROR(ChooseStacks(given.stacks, settings.stacks));
  VRAMPOOL_RETURN_IF_ERROR(
      ChooseSize(given.debug_quarantine_bytes, "VRAMPOOL_DEBUG_QUARANTINE",
                 "a quarantine", kMaxReserve, settings.debug.quarantine));
  VRAMPOOL_RETURN_IF_ERROR(
      ChooseMs(-1, "VRAMPOOL_DEBUG_PATIENCE_MS", settings.debug.patience_ms));
  return settings;
}

}  // namespace vrampool::client
