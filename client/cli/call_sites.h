// call_sites.h - code addresses of a client in words.
//
// By what its manifest says is loaded where, an address becomes a file and an
// offset in it ("libfoo.so+0x1234"), the same in every process and after its
// end. Where names were found for it (symbolizer.h), "function at file:line".
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_CLIENT_CLI_CALL_SITES_H_
#define VRAMPOOL_CLIENT_CLI_CALL_SITES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "client/cli/options.h"
#include "google/protobuf/repeated_field.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

using Modules = google::protobuf::RepeatedPtrField<v1::Module>;

// The module that `address` lies in, or null.
const v1::Module* FindModule(const Modules& modules, uint64_t address);

// The call sites of one session.
class Sites {
 public:
  // `modules` must outlive it.
  explicit Sites(const Modules& modules) : modules_(modules) {}

  // "libfoo.so+0x1234", "0x7f00" where no module is known, "" for 0. May hold
  // anything that the client wrote.
  std::string Text(uint64_t address) const;

  // A line for each frame of the stack, the innermost first. Where frames have
  // words, the address of the call is left out: it is the interpreter's.
  std::vector<std::string> Lines(const v1::StackGroup& stack) const;

  // What Text() says of the address from now on.
  void Name(uint64_t address, std::string name) {
    names_[address] = std::move(name);
  }

 private:
  const Modules& modules_;
  std::map<uint64_t, std::string> names_;
};

// Those of the report, and of the stacks of it that are shown (of all for a
// picture); with names, if the options say so.
// `report` must outlive them.
Sites SitesOf(const v1::LeakReport& report, const Options& options);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_CALL_SITES_H_
