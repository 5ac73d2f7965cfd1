#include "client/session/call_site.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <sys/auxv.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace vrampool::client {
namespace {

constexpr int kFrames = 64;

const void* FileOf(uint64_t address) {
  Dl_info info{};
  return ::dladdr(reinterpret_cast<const void*>(address), &info) == 0
             ? nullptr
             : info.dli_fbase;
}

}  // namespace

std::string CallSiteText(uint64_t address) {
  if (address == 0) return "an unknown place";
  char offset[32];
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(address - 1), &info) == 0 ||
      info.dli_fname == nullptr) {
    std::snprintf(offset, sizeof(offset), "0x%llx",
                  static_cast<unsigned long long>(address));
    return offset;
  }
  std::snprintf(offset, sizeof(offset), "+0x%llx",
                static_cast<unsigned long long>(
                    address - reinterpret_cast<uint64_t>(info.dli_fbase)));
  const std::string path = info.dli_fname;
  std::string text = path.substr(path.rfind('/') + 1) + offset;
  if (info.dli_sname == nullptr) return text;
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status),
      std::free);
  return text + " (" + (name != nullptr ? name.get() : info.dli_sname) + ")";
}

uint64_t OutsideCaller(uint64_t address) {
  const void* const ours = FileOf(reinterpret_cast<uint64_t>(&CallSiteText));
  static const bool is_program = FileOf(::getauxval(AT_ENTRY)) == ours;
  if (is_program) return address;
  if (address != 0 && FileOf(address - 1) != ours) return address;
  void* frames[kFrames];
  const int count = ::backtrace(frames, kFrames);
  for (int i = 0; i < count; ++i) {
    const auto found = reinterpret_cast<uint64_t>(frames[i]);
    if (found != 0 && FileOf(found - 1) != ours) return found;
  }
  return address;
}

}  // namespace vrampool::client
