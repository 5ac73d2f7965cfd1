#include "client/session/module_table.h"

#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <new>
#include <string>
#include <string_view>

namespace vrampool::client {
namespace {

constexpr std::string_view kGnu = {"GNU", 4};

size_t Aligned(size_t size) { return (size + 3) / 4 * 4; }

// The notes are those of a file that runs in this process: they are sound.
void FindBuildId(const char* notes, size_t size, shm::Module& module) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) head;
    std::memcpy(&head, notes, sizeof(head));
    const size_t length =
        sizeof(head) + Aligned(head.n_namesz) + Aligned(head.n_descsz);
    if (length > size) return;
    const std::string_view name(notes + sizeof(head), head.n_namesz);
    if (head.n_type == NT_GNU_BUILD_ID && name == kGnu) {
      module.build_id_bytes =
          std::min<uint32_t>(head.n_descsz, sizeof(module.build_id));
      std::memcpy(module.build_id,
                  notes + sizeof(head) + Aligned(head.n_namesz),
                  module.build_id_bytes);
      return;
    }
    notes += length;
    size -= length;
  }
}

// Whether the loader has brought the part into memory: then it can be read.
bool IsLoaded(const dl_phdr_info& info, const ElfW(Phdr) & part) {
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& load = info.dlpi_phdr[i];
    if (load.p_type == PT_LOAD && (load.p_flags & PF_R) != 0 &&
        load.p_vaddr <= part.p_vaddr &&
        part.p_vaddr + part.p_memsz <= load.p_vaddr + load.p_filesz) {
      return true;
    }
  }
  return false;
}

// False: it has no code.
bool Describe(const dl_phdr_info& info, shm::Module& module) {
  module.bias = info.dlpi_addr;
  module.begin = ~uint64_t{0};
  module.end = 0;
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info.dlpi_phdr[i];
    const uint64_t at = info.dlpi_addr + part.p_vaddr;
    if (part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0) {
      module.begin = std::min(module.begin, at);
      module.end = std::max(module.end, at + part.p_memsz);
    } else if (part.p_type == PT_NOTE && IsLoaded(info, part)) {
      FindBuildId(reinterpret_cast<const char*>(at), part.p_memsz, module);
    }
  }
  if (module.begin >= module.end) return false;
  if (info.dlpi_name != nullptr && info.dlpi_name[0] != '\0') {
    std::strncpy(module.path, info.dlpi_name, sizeof(module.path) - 1);
  } else {
    // The program itself has no name here.
    (void)!::readlink("/proc/self/exe", module.path, sizeof(module.path) - 1);
  }
  return true;
}

struct Loaded {
  uint64_t known_loads;
  uint64_t loads = 0;
  std::deque<shm::Module> modules = {};  // They cannot be moved.
};

// The count of loads comes with every entry: nothing new ends it at the first.
int Visit(dl_phdr_info* info, size_t, void* data) {
  auto& loaded = *static_cast<Loaded*>(data);
  loaded.loads = info->dlpi_adds;
  if (loaded.loads == loaded.known_loads) return 1;
  try {
    loaded.modules.emplace_back();
    if (!Describe(*info, loaded.modules.back())) loaded.modules.pop_back();
  } catch (const std::bad_alloc&) {
    loaded.loads = loaded.known_loads;  // The next call will try again.
    return 1;
  }
  return 0;
}

}  // namespace

void ModuleTable::Refresh() {
  const MutexLock lock(mu_);
  try {
    Loaded loaded{.known_loads = loads_};
    ::dl_iterate_phdr(&Visit, &loaded);
    for (const shm::Module& module : loaded.modules) Write(module);
    loads_ = loaded.loads;
  } catch (const std::bad_alloc&) {
  }
}

void ModuleTable::Write(const shm::Module& module) {
  Written written = {.begin = module.begin,
                     .end = module.end,
                     .path = std::string(module.path)};
  // The last at an address counts: one that came back is written anew.
  const auto last = std::find_if(
      written_.rbegin(), written_.rend(), [&](const Written& other) {
        return other.begin < written.end && written.begin < other.end;
      });
  if (last != written_.rend() && *last == written) return;
  if (written_.size() == shm::kModuleCapacity) return;
  shm::Module& place = places_.modules[written_.size()];
  written_.push_back(std::move(written));
  places_.high_water->store(static_cast<uint32_t>(written_.size()),
                            std::memory_order_release);
  place.begin = module.begin;
  place.end = module.end;
  place.bias = module.bias;
  std::memcpy(place.build_id, module.build_id, sizeof(place.build_id));
  place.build_id_bytes = module.build_id_bytes;
  std::memcpy(place.path, module.path, sizeof(place.path));
  place.is_set.store(1, std::memory_order_release);
}

}  // namespace vrampool::client
