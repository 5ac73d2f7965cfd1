// tenant_table.h - the columns of tenants, for `tenants` and `quota`.

#ifndef VRAMPOOL_CLIENT_CLI_TENANT_TABLE_H_
#define VRAMPOOL_CLIENT_CLI_TENANT_TABLE_H_

#include "client/cli/table.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

TableOf<v1::TenantInfo> TenantTable();

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_TENANT_TABLE_H_
