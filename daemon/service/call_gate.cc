#include "daemon/service/call_gate.h"

#include <chrono>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/turned_away.h"
#include "daemon/core/refusal.h"
#include "google/protobuf/descriptor.h"
#include "grpc/grpc.h"

namespace vrampool {
namespace {

constexpr std::string_view kReflection = "/grpc.reflection.";
// Threads of gRPC's own: pollers, and refusals of calls beyond `open`.
constexpr uint32_t kSpareThreads = 32;

bool HasPrefix(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// What the service does not count against a rate either, for the same reason.
bool GivesBack(std::string_view method) {
  static constexpr std::string_view kMethods[] = {
      "Return", "ReportUnmapped", "Close",
      "Unlink", "Ready",          "ReleaseReservation"};
  constexpr std::string_view kService = "/vrampool.v1.Broker/";
  return HasPrefix(method, kService) &&
         absl::c_linear_search(kMethods, method.substr(kService.size()));
}

// What may have been carried out is not told in the words that mean it was not.
constexpr char kNotTaken[] = "the answer was not taken in time";

void Cancel(grpc_call* call, const char* why) {
  grpc_call_cancel_with_status(call, GRPC_STATUS_RESOURCE_EXHAUSTED, why,
                               nullptr);
}

}  // namespace

// One call, from its arrival to the end of its context.
class CallGate::Counted final : public grpc::experimental::Interceptor {
 public:
  Counted(CallGate& gate, grpc::experimental::ServerRpcInfo& info)
      : gate_(gate), info_(info), context_(info.server_context()) {}
  ~Counted() override {
    if (is_entered_) gate_.Leave(context_);
  }

  void Intercept(
      grpc::experimental::InterceptorBatchMethods* methods) override {
    // The first hook at which the context knows its call.
    if (!is_entered_ && methods->QueryInterceptionHookPoint(
                            grpc::experimental::InterceptionHookPoints::
                                POST_RECV_INITIAL_METADATA)) {
      is_entered_ = true;
      gate_.Enter(info_);
    }
    methods->Proceed();
  }

 private:
  CallGate& gate_;
  grpc::experimental::ServerRpcInfo& info_;
  const grpc::ServerContextBase* const context_;
  bool is_entered_ = false;
};

class CallGate::Factory final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(CallGate& gate) : gate_(gate) {
    for (const char* const name : {"vrampool.v1.Broker", "vrampool.v1.Admin"}) {
      const google::protobuf::ServiceDescriptor* const service =
          google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
              name);
      VRAMPOOL_CHECK(service != nullptr);
      for (int i = 0; i < service->method_count(); ++i) {
        methods_.insert(
            absl::StrCat("/", name, "/", service->method(i)->name()));
      }
    }
  }

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    if (!methods_.contains(info->method()) &&
        !HasPrefix(info->method(), kReflection)) {
      return nullptr;
    }
    return new Counted(gate_, *info);  // Owned by the call's context.
  }

 private:
  CallGate& gate_;
  absl::flat_hash_set<std::string> methods_;
};

CallGate::CallGate(Bounds bounds, const Connections& connections,
                   const Clock& clock)
    : bounds_(bounds), connections_(connections), clock_(clock) {}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
CallGate::MakeFactory() {
  return std::make_unique<Factory>(*this);
}

uint32_t CallGate::threads() const {
  return bounds_.open + kGivingBack + kSpareThreads;
}

uint32_t CallGate::open() const {
  const MutexLock lock(mu_);
  return static_cast<uint32_t>(calls_.size());
}

bool CallGate::AwaitIdle(absl::Duration patience) {
  const auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(patience);
  MutexLock lock(mu_);
  while (!calls_.empty()) {
    if (!idle_.WaitUntil(lock, deadline)) return calls_.empty();
  }
  return true;
}

void CallGate::Enter(grpc::experimental::ServerRpcInfo& info) {
  grpc::ServerContextBase* const context = info.server_context();
  Call call;
  call.call = context->c_call();
  call.is_reflection = HasPrefix(info.method(), kReflection);
  call.gives_back = GivesBack(info.method());
  const std::optional<Connections::Connection> connection =
      connections_.Find(context->peer());
  if (connection.has_value()) call.uid = connection->peer->uid;
  grpc_call_ref(call.call);
  for (grpc_call* const doomed : List(context, call)) {
    Cancel(doomed, doomed == call.call ? kTurnedAway : kNotTaken);
    grpc_call_unref(doomed);
  }
}

std::vector<grpc_call*> CallGate::List(grpc::ServerContextBase* context,
                                       Call call) {
  std::vector<grpc_call*> doomed;
  const MutexLock lock(mu_);
  call.number = ++numbers_;
  Lane& lane = lanes_[call.gives_back ? 1 : 0];
  const uint32_t share = ShareOf(call.gives_back);
  const uint32_t by_uid = ++lane.per_uid[call.uid];
  call.is_refused = ++lane.calls > BoundOf(call.gives_back) || by_uid > share;
  if (call.is_refused) FindUnread(doomed);
  if (call.is_reflection && ++reflections_ > bounds_.reflections) {
    FindOldestReflection(doomed);
  }
  // Only our own handlers ask for the verdict.
  if (call.is_refused &&
      (call.is_reflection || by_uid > share + kRefusalsPerUid)) {
    grpc_call_ref(call.call);
    doomed.push_back(call.call);
  }
  calls_.emplace(context, call);
  return doomed;
}

void CallGate::Leave(const grpc::ServerContextBase* context) {
  grpc_call* call = nullptr;
  {
    const MutexLock lock(mu_);
    const auto found = calls_.find(context);
    call = found->second.call;
    if (found->second.is_reflection) --reflections_;
    Lane& lane = lanes_[found->second.gives_back ? 1 : 0];
    --lane.calls;
    const auto count = lane.per_uid.find(found->second.uid);
    if (--count->second == 0) lane.per_uid.erase(count);
    calls_.erase(found);
    if (calls_.empty()) idle_.NotifyAll();
  }
  grpc_call_unref(call);
}

absl::Status CallGate::VerdictOf(const grpc::ServerContextBase* context) const {
  const MutexLock lock(mu_);
  const auto found = calls_.find(context);
  if (found == calls_.end() || !found->second.is_refused) {
    return absl::OkStatus();
  }
  const bool gives_back = found->second.gives_back;
  Refusal refusal;
  refusal.reason = Reason::kLimitReached;
  refusal.subject = "open_rpcs";
  refusal.retry_after = absl::Milliseconds(100);
  return Refuse(
      refusal,
      absl::StrCat("too many calls are in progress (",
                   gives_back ? "that give back" : "bound open_rpcs", ": ",
                   BoundOf(gives_back), " in all, ", ShareOf(gives_back),
                   " for one user); wait for some to end",
                   gives_back ? "" : ", or raise the bound"));
}

void CallGate::MarkAnswered(const grpc::ServerContextBase* context) {
  const absl::Time now = clock_.Now();
  const MutexLock lock(mu_);
  const auto found = calls_.find(context);
  if (found != calls_.end()) found->second.answered_at = now;
}

void CallGate::FindUnread(std::vector<grpc_call*>& doomed) {
  const absl::Time latest = clock_.Now() - bounds_.patience;
  for (const auto& [context, call] : calls_) {
    if (call.answered_at.has_value() && *call.answered_at <= latest) {
      grpc_call_ref(call.call);
      doomed.push_back(call.call);
    }
  }
}

void CallGate::FindOldestReflection(std::vector<grpc_call*>& doomed) {
  const Call* oldest = nullptr;
  for (const auto& [context, call] : calls_) {
    if (call.is_reflection &&
        (oldest == nullptr || call.number < oldest->number)) {
      oldest = &call;
    }
  }
  if (oldest == nullptr) return;
  grpc_call_ref(oldest->call);
  doomed.push_back(oldest->call);
}

CallGate::Visit::Visit(CallGate& gate, const grpc::ServerContext& context)
    : gate_(gate), context_(&context), verdict_(gate.VerdictOf(&context)) {}

CallGate::Visit::~Visit() { gate_.MarkAnswered(context_); }

}  // namespace vrampool
