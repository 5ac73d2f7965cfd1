// finding.h - making the Findings of doctor_checks.h.

#ifndef VRAMPOOL_CLIENT_CLI_FINDING_H_
#define VRAMPOOL_CLIENT_CLI_FINDING_H_

#include <string>

#include "client/cli/reports.pb.h"
#include "client/cli/trouble.h"

namespace vrampool::cli {

inline report::Finding MakeOk(const char* check, const std::string& text) {
  report::Finding finding;
  finding.set_level(report::Finding::LEVEL_OK);
  finding.set_check(check);
  finding.set_text(text);
  return finding;
}

inline report::Finding MakeFinding(report::Finding::Level level,
                                   const char* check, const Trouble& trouble) {
  report::Finding finding = MakeOk(check, trouble.what);
  finding.set_level(level);
  finding.set_remedy(trouble.remedy);
  return finding;
}

inline report::Finding MakeWarning(const char* check, const Trouble& trouble) {
  return MakeFinding(report::Finding::LEVEL_WARNING, check, trouble);
}

inline report::Finding MakeProblem(const char* check, const Trouble& trouble) {
  return MakeFinding(report::Finding::LEVEL_PROBLEM, check, trouble);
}

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_FINDING_H_
