// metrics_server.h - serves the metrics over HTTP, at /metrics.
//
// For Prometheus, which speaks TCP only. Whoever can connect reads them:
// ValidateConfig() lets addresses of this machine alone through.
//
// Threads: has threads of its own; what `sources` refers to outlives it.

#ifndef VRAMPOOL_DAEMON_OBSERVE_METRICS_SERVER_H_
#define VRAMPOOL_DAEMON_OBSERVE_METRICS_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "daemon/observe/metrics.h"

namespace vrampool {

class MetricsServer {
 public:
  // Listens on `address` ("127.0.0.1:9478"; port 0 lets the kernel choose).
  //   FailedPrecondition  it cannot: somebody else does, say.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      const std::string& address, const MetricSources& sources);
  virtual ~MetricsServer() = default;

  virtual int port() const = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_METRICS_SERVER_H_
