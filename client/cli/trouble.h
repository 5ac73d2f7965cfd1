// trouble.h - an error that knows what to do about it.
//
// The message of such a Status is both, for people; `doctor` takes them apart.

#ifndef VRAMPOOL_CLIENT_CLI_TROUBLE_H_
#define VRAMPOOL_CLIENT_CLI_TROUBLE_H_

#include <string>

#include "absl/status/status.h"

namespace vrampool::cli {

struct Trouble {
  std::string what;    // No full stop at its end.
  std::string remedy;  // Sentences, or empty.
};

absl::Status MakeError(absl::StatusCode code, const Trouble& trouble);

// Of any error; one that has no remedy gets an empty one.
Trouble TroubleOf(const absl::Status& status);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_TROUBLE_H_
