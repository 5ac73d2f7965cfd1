// config_fuzz.cc - any text as a configuration: refused with a message, or a
// value that keeps the promises of config.h.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "daemon/config/config.h"
#include "daemon/config/config_source.h"
#include "daemon/core/ledger.h"

namespace {

void CheckPromises(const vrampool::Config& config,
                   const vrampool::DeviceInfo& device) {
  const vrampool::CoreSettings& core = config.core;
  VRAMPOOL_CHECK(!core.capacity.is_zero() && core.capacity <= device.total);
  VRAMPOOL_CHECK(core.capacity.count() % device.granule.count() == 0);
  VRAMPOOL_CHECK(config.preallocate_slab <= core.capacity);
  VRAMPOOL_CHECK(config.preallocate_slab.count() % device.granule.count() == 0);
  VRAMPOOL_CHECK(!core.kinds.empty());
  VRAMPOOL_CHECK(config.socket_mode <= 0777);
  VRAMPOOL_CHECK(core.bounds.open_rpcs > core.bounds.waiting);
  for (const vrampool::TenantSetting& tenant : core.tenants) {
    VRAMPOOL_CHECK(vrampool::IsTenantPath(tenant.path));
  }
  for (const vrampool::Policy::Rule& rule : config.policy.rules) {
    VRAMPOOL_CHECK(rule.tenant.empty() || vrampool::IsTenantPath(rule.tenant));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const vrampool::DeviceInfo device = {
      .uuid = "host-0",
      .name = "fuzz",
      .granule = vrampool::MiB(2),
      .total = vrampool::GiB(64),
      .kinds = {vrampool::HandleKind::kHostFd}};
  vrampool::ConfigSource source;
  const absl::Status read = source.ReadText(
      std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!read.ok()) {
    VRAMPOOL_CHECK(!read.message().empty());
    return 0;
  }
  const bool is_device = vrampool::ChooseDevice(source).ok();
  VRAMPOOL_CHECK(is_device || !source.proto().device().empty());
  const absl::StatusOr<vrampool::Config> config =
      vrampool::ValidateConfig(source, device);
  if (config.ok()) {
    CheckPromises(*config, device);
  } else {
    VRAMPOOL_CHECK(!config.status().message().empty());
  }
  return 0;
}
