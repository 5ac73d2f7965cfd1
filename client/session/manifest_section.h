// manifest_section.h - marks in the code around every write to the manifest.
//
// A test stops the process at every single instruction between a call of
// vrampool_manifest_enter and the next of vrampool_manifest_leave, kills it
// there, and looks at what the daemon reads. Both functions do nothing, are not
// exported, and are found in the symbol table by their names.
//
// Threads: sections of several threads may overlap.

#ifndef VRAMPOOL_CLIENT_SESSION_MANIFEST_SECTION_H_
#define VRAMPOOL_CLIENT_SESSION_MANIFEST_SECTION_H_

extern "C" {
void vrampool_manifest_enter() noexcept;
void vrampool_manifest_leave() noexcept;
}

namespace vrampool::client {

// One section, for its own lifetime. Sections do not nest.
class ManifestSection {
 public:
  ManifestSection() { vrampool_manifest_enter(); }
  ~ManifestSection() { vrampool_manifest_leave(); }
  ManifestSection(const ManifestSection&) = delete;
  ManifestSection& operator=(const ManifestSection&) = delete;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_MANIFEST_SECTION_H_
