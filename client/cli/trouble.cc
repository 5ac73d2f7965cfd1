#include "client/cli/trouble.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace vrampool::cli {
namespace {

constexpr char kRemedyPayload[] = "vrampool/remedy";
constexpr char kGlue[] = ". ";

}  // namespace

absl::Status MakeError(absl::StatusCode code, const Trouble& trouble) {
  if (trouble.remedy.empty()) return absl::Status(code, trouble.what);
  absl::Status status(code, absl::StrCat(trouble.what, kGlue, trouble.remedy));
  status.SetPayload(kRemedyPayload, absl::Cord(trouble.remedy));
  return status;
}

Trouble TroubleOf(const absl::Status& status) {
  Trouble trouble{.what = std::string(status.message()), .remedy = ""};
  const auto payload = status.GetPayload(kRemedyPayload);
  if (!payload.has_value()) return trouble;
  trouble.remedy = std::string(*payload);
  const std::string tail = kGlue + trouble.remedy;
  if (trouble.what.size() >= tail.size()) {
    trouble.what.resize(trouble.what.size() - tail.size());
  }
  return trouble;
}

}  // namespace vrampool::cli
