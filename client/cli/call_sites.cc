#include "client/cli/call_sites.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/symbolizer.h"

namespace vrampool::cli {

const v1::Module* FindModule(const Modules& modules, uint64_t address) {
  for (int i = modules.size(); i-- > 0;) {
    const v1::Module& module = modules.Get(i);
    if (module.begin() <= address && address < module.end()) return &module;
  }
  return nullptr;
}

std::string Sites::Text(uint64_t address) const {
  if (address == 0) return "";
  if (const auto found = names_.find(address); found != names_.end()) {
    return found->second;
  }
  const v1::Module* const module = FindModule(modules_, address);
  if (module == nullptr) return absl::StrCat("0x", absl::Hex(address));
  const std::string& path = module->path();
  // What a liar's numbers lead to wraps, and harms nobody.
  return absl::StrCat(path.substr(path.rfind('/') + 1), "+0x",
                      absl::Hex(address - module->bias()));
}

std::vector<std::string> Sites::Lines(const v1::StackGroup& stack) const {
  std::vector<std::string> lines;
  for (int i = 0; i < stack.frames_size(); ++i) {
    const v1::StackFrame& frame = stack.frames(i);
    const bool is_interpreter = i == 0 && frame.text().empty() &&
                                stack.frames_size() > 1 &&
                                !stack.frames(1).text().empty();
    if (is_interpreter) continue;
    const std::string text =
        frame.text().empty() ? Text(frame.address()) : frame.text();
    lines.push_back(text.empty() ? "?" : text);
  }
  return lines;
}

Sites SitesOf(const v1::LeakReport& report, const Options& options) {
  Sites sites(report.modules());
  if (!options.is_symbolized) return sites;
  std::map<const v1::Module*, std::set<uint64_t>> addresses;
  const auto add = [&](uint64_t address) {
    const v1::Module* const module = FindModule(report.modules(), address);
    if (module != nullptr) addresses[module].insert(address);
  };
  for (const v1::BlockGroup& group : report.groups()) add(group.call_site());
  for (const v1::BlockInfo& block : report.blocks()) add(block.call_site());
  const bool is_picture =
      !options.flame_graph.empty() || !options.memory_viz.empty();
  const int shown = is_picture ? report.stacks_size()
                               : std::min(report.stacks_size(),
                                          static_cast<int>(options.max_stacks));
  for (int i = 0; i < shown; ++i) {
    for (const v1::StackFrame& frame : report.stacks(i).frames()) {
      add(frame.address());
    }
  }
  for (const auto& [module, of_module] : addresses) {
    std::map<uint64_t, std::string> names = Symbolize(
        *module, report.session().process(), report.session_live(), of_module);
    for (auto& [address, name] : names) sites.Name(address, std::move(name));
  }
  return sites;
}

}  // namespace vrampool::cli
