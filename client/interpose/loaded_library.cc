#include "client/interpose/loaded_library.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

namespace vrampool::client {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kJumpSlot = R_X86_64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
constexpr uint32_t kJumpSlot = R_AARCH64_JUMP_SLOT;
constexpr uint32_t kGlobalData = R_AARCH64_GLOB_DAT;
#else
#error "the relocation types of this machine are not known here"
#endif

std::string_view FileName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

Result<LoadedLibrary> LoadedLibrary::Find(const std::string& name) {
  struct Search {
    const std::string& name;
    std::optional<LoadedLibrary> found;
  } search{.name = name, .found = std::nullopt};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& wanted = *static_cast<Search*>(data);
        if (info->dlpi_name == nullptr ||
            !FileName(info->dlpi_name).starts_with(wanted.name)) {
          return 0;
        }
        wanted.found = LoadedLibrary(*info);
        return 1;
      },
      &search);
  if (search.found) return *std::move(search.found);
  return Status(VRAMPOOL_NOT_FOUND,
                "no library " + name + " is loaded in this process");
}

LoadedLibrary::LoadedLibrary(const dl_phdr_info& info)
    : path_(info.dlpi_name), base_(info.dlpi_addr) {
  for (ElfW(Half) i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info.dlpi_phdr[i];
    const uint64_t begin = base_ + header.p_vaddr;
    if (header.p_type == PT_LOAD) {
      if (all_.end == 0) all_.begin = begin;
      all_.end = begin + header.p_memsz;  // They are in ascending order.
    }
    if (header.p_type == PT_GNU_RELRO) {
      read_only_ = {.begin = begin, .end = begin + header.p_memsz};
    } else if (header.p_type == PT_DYNAMIC) {
      ReadDynamic(reinterpret_cast<const ElfW(Dyn)*>(begin));
    }
  }
}

void LoadedLibrary::ReadDynamic(const ElfW(Dyn) * entries) {
  Relocations calls;
  Relocations data;
  bool has_addends = true;
  for (const ElfW(Dyn)* entry = entries; entry->d_tag != DT_NULL; ++entry) {
    const uint64_t value = entry->d_un.d_val;
    const auto* const table =
        reinterpret_cast<const ElfW(Rela)*>(AddressOf(value));
    switch (entry->d_tag) {
      case DT_SYMTAB:
        symbols_ = reinterpret_cast<const ElfW(Sym)*>(AddressOf(value));
        break;
      case DT_STRTAB:
        names_ = reinterpret_cast<const char*>(AddressOf(value));
        break;
      case DT_JMPREL:
        calls.first = table;
        break;
      case DT_PLTRELSZ:
        calls.bytes = value;
        break;
      case DT_RELA:
        data.first = table;
        break;
      case DT_RELASZ:
        data.bytes = value;
        break;
      case DT_PLTREL:
        has_addends = value == DT_RELA;
        break;
      default:
        break;
    }
  }
  if (calls.first != nullptr && has_addends) relocations_.push_back(calls);
  if (data.first != nullptr) relocations_.push_back(data);
}

// Whether the linker has already added where the library lies depends on it.
uint64_t LoadedLibrary::AddressOf(uint64_t value) const {
  return value < base_ ? base_ + value : value;
}

// An address inside the library is its own stub: the linker has not bound it.
void* LoadedLibrary::Current(const std::string& symbol) const {
  for (const uint64_t place : PlacesOf(symbol)) {
    void* const now =
        std::atomic_ref<void*>(*reinterpret_cast<void**>(place)).load();
    const auto address = reinterpret_cast<uint64_t>(now);
    if (address < all_.begin || address >= all_.end) return now;
  }
  return Resolve(symbol);
}

void* LoadedLibrary::Resolve(const std::string& symbol) const {
  void* const handle = ::dlopen(path_.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return nullptr;
  void* const found = ::dlsym(handle, symbol.c_str());
  ::dlclose(handle);
  return found;
}

std::vector<uint64_t> LoadedLibrary::PlacesOf(const std::string& symbol) const {
  std::vector<uint64_t> places;
  if (symbols_ == nullptr || names_ == nullptr) return places;
  for (const Relocations& table : relocations_) {
    const size_t count = table.bytes / sizeof(ElfW(Rela));
    for (const ElfW(Rela)* one = table.first; one != table.first + count;
         ++one) {
      const auto type = static_cast<uint32_t>(ELF64_R_TYPE(one->r_info));
      if (type != kJumpSlot && type != kGlobalData) continue;
      const ElfW(Sym)& named = symbols_[ELF64_R_SYM(one->r_info)];
      if (symbol == names_ + named.st_name) {
        places.push_back(base_ + one->r_offset);
      }
    }
  }
  return places;
}

Status LoadedLibrary::Redirect(const std::string& symbol,
                               void* function) const {
  const std::vector<uint64_t> places = PlacesOf(symbol);
  if (places.empty()) {
    return {VRAMPOOL_NOT_FOUND,
            path_ + " does not call " + symbol + " by the dynamic linker"};
  }
  for (const uint64_t place : places) {
    const Status stored = Store(place, function);
    if (!stored.ok()) return stored;
  }
  return {};
}

// A place is aligned, so it lies in one page.
Status LoadedLibrary::Store(uint64_t place, void* function) const {
  const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  void* const page = reinterpret_cast<void*>(place / page_bytes * page_bytes);
  if (::mprotect(page, page_bytes, PROT_READ | PROT_WRITE) != 0) {
    return {VRAMPOOL_INTERNAL,
            "the table of calls of " + path_ +
                " cannot be written: " + std::strerror(errno)};
  }
  std::atomic_ref<void*>(*reinterpret_cast<void**>(place)).store(function);
  // The linker protects whole pages, from the first to before the last.
  const uint64_t first = read_only_.begin / page_bytes;
  const uint64_t last = read_only_.end / page_bytes;
  const uint64_t number = place / page_bytes;
  const bool was_read_only = number >= first && number < last;
  if (was_read_only) (void)::mprotect(page, page_bytes, PROT_READ);
  return {};
}

}  // namespace vrampool::client
