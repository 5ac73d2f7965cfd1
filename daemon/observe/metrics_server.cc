#include "daemon/observe/metrics_server.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"

namespace vrampool {
namespace {

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(const MetricSources& sources) : sources_(sources) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    return CollectMetrics(sources_);
  }

 private:
  const MetricSources sources_;
};

class MetricsServerImpl final : public MetricsServer {
 public:
  // Throws what the library throws.
  MetricsServerImpl(const std::string& address, const MetricSources& sources)
      : collector_(std::make_shared<Collector>(sources)), exposer_(address) {
    exposer_.RegisterCollectable(collector_);
  }
  int port() const override { return exposer_.GetListeningPorts().front(); }

 private:
  // The exposer keeps a weak reference to it.
  const std::shared_ptr<Collector> collector_;
  prometheus::Exposer exposer_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, const MetricSources& sources) {
  try {
    return std::make_unique<MetricsServerImpl>(address, sources);
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(
        absl::StrCat("metrics_address ", address, ": ", error.what(),
                     "; choose a port that nobody listens on"));
  }
}

}  // namespace vrampool
