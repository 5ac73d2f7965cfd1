// object_table.h - the columns of objects, for `objects` and `leaks`.

#ifndef VRAMPOOL_CLIENT_CLI_OBJECT_TABLE_H_
#define VRAMPOOL_CLIENT_CLI_OBJECT_TABLE_H_

#include "absl/time/time.h"
#include "client/cli/table.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

TableOf<v1::ObjectInfo> ObjectTable(absl::Time now);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_OBJECT_TABLE_H_
