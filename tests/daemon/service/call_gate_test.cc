#include "daemon/service/call_gate.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/daemon/service/raw_http2.h"
#include "tests/daemon/service/service_rig.h"

namespace vrampool::testing {
namespace {

constexpr char kReflection[] =
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

GrpcServer::Options EightCalls() {
  GrpcServer::Options options;
  options.bounds.open_rpcs = 8;  // Six for one uid.
  return options;
}

// A reflection stream that stays open.
class Reflection {
 public:
  explicit Reflection(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(channel) {
    call_ = stub_.PrepareCall(&context_, kReflection, &queue_);
    call_->StartCall(nullptr);
    EXPECT_TRUE(Await());
    const grpc::Slice list_services(std::string("\x3a\x00", 2));
    call_->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
    EXPECT_TRUE(Await());
    call_->Read(&answer_, nullptr);
    is_answered_ = Await();
  }
  ~Reflection() {
    context_.TryCancel();
    if (!is_finished_) Finish();
  }

  bool is_answered() const { return is_answered_; }
  grpc::Status Finish() {
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Await();
    is_finished_ = true;
    return status;
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool is_ok = false;
    return queue_.Next(&tag, &is_ok) && is_ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer answer_;
  bool is_answered_ = false;
  bool is_finished_ = false;
};

class CallGateTest : public ServiceRig {
 protected:
  CallGateTest() : ServiceRig(EightCalls()) {
    broker_.on_get_budget = [this](SessionId) {
      MutexLock lock(mu_);
      ++running_;
      changed_.NotifyAll();
      while (!may_end_) changed_.Wait(lock);
      return absl::StatusOr<Budget>(Budget());
    };
  }
  ~CallGateTest() override { EndCalls(); }

  // Calls of the user that stay in progress until EndCalls().
  void StartCalls(int count) {
    for (int i = 0; i < count; ++i) {
      callers_.emplace_back([this] {
        v1::BudgetResponse response;
        EXPECT_TRUE(
            user_.broker->Budget(WithToken().get(), {}, &response).ok());
      });
    }
    MutexLock lock(mu_);
    while (running_ < count) changed_.Wait(lock);
  }

  void EndCalls() {
    {
      MutexLock lock(mu_);
      may_end_ = true;
      changed_.NotifyAll();
    }
    for (std::thread& caller : callers_) caller.join();
    callers_.clear();
  }

  grpc::Status GetStatus(Client& client) {
    v1::GetStatusResponse response;
    return client.admin->GetStatus(WithoutToken().get(), {}, &response);
  }

  Mutex mu_;
  CondVar changed_;
  int running_ VRAMPOOL_GUARDED_BY(mu_) = 0;
  bool may_end_ VRAMPOOL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> callers_;
};

TEST_F(CallGateTest, OneUserGetsThreeQuartersOfTheCalls) {
  StartCalls(6);
  const grpc::Status status = GetStatus(user_);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.info.reason(), "LIMIT_REACHED");
  EXPECT_EQ(details.info.metadata().at("subject"), "open_rpcs");
  EXPECT_TRUE(details.has_retry);
  EXPECT_TRUE(GetStatus(admin_).ok());
}

// Those that wait would else keep what they wait for from coming back.
TEST_F(CallGateTest, CallsThatGiveBackHavePlacesOfTheirOwn) {
  int returned = 0;
  broker_.on_return = [&returned](SessionId, LeaseId, ReturnMode) {
    ++returned;
    return absl::OkStatus();
  };
  StartCalls(6);
  ASSERT_FALSE(GetStatus(user_).ok());
  for (int i = 0; i < 8; ++i) {
    v1::ReturnRequest request;
    request.set_epoch(static_cast<uint64_t>(FakeBroker::kEpoch));
    request.set_lease_id(7);
    request.set_mapping(v1::ReturnRequest::MAPPING_UNMAPPED);
    v1::ReturnResponse response;
    const grpc::Status status =
        user_.broker->Return(WithToken().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(returned, 8);
  EXPECT_FALSE(GetStatus(user_).ok());
}

TEST_F(CallGateTest, CallsThatEndedDoNotCount) {
  StartCalls(6);
  ASSERT_FALSE(GetStatus(user_).ok());
  EndCalls();
  // The answers have arrived; their calls are taken off a moment later.
  while (!GetStatus(user_).ok()) std::this_thread::yield();
  EXPECT_TRUE(GetStatus(user_).ok());
}

TEST_F(CallGateTest, HealthIsToldToAFullHouse) {
  StartCalls(6);
  EXPECT_TRUE(
      RawUnary(user_.channel, "/grpc.health.v1.Health/Check", "").status.ok());
}

TEST_F(CallGateTest, ReflectionBeyondTheBoundIsCancelled) {
  StartCalls(6);
  EXPECT_FALSE(RawStream(user_.channel, kReflection, std::string("\x3a\x00", 2))
                   .status.ok());
}

TEST_F(CallGateTest, ProbeTakesARefusalForLife) {
  StartCalls(6);
  EXPECT_TRUE(server_->Probe(absl::Seconds(30)).ok());
}

TEST_F(CallGateTest, NewestReflectionStreamsStay) {
  std::vector<std::unique_ptr<Reflection>> streams;
  for (int i = 0; i < 5; ++i) {
    streams.push_back(std::make_unique<Reflection>(user_.channel));
    EXPECT_TRUE(streams.back()->is_answered());
  }
  EXPECT_FALSE(streams.front()->Finish().ok());
}

TEST_F(CallGateTest, AnswersThatNobodyTakesHoldNoPlaceForEver) {
  SocketPair pair = MakeSocketPair();
  server_->connections().Adopt(std::move(pair.server), MakePeer(102, kUserUid));
  RawHttp2 mute(std::move(pair.client));
  for (int i = 0; i < 6; ++i) mute.Call("/vrampool.v1.Admin/GetStatus");
  while (GetStatus(user_).ok()) std::this_thread::yield();
  EXPECT_TRUE(GetStatus(admin_).ok());
  clock_.Advance(absl::Seconds(6));
  while (!GetStatus(user_).ok()) std::this_thread::yield();
  EXPECT_TRUE(GetStatus(user_).ok());
}

}  // namespace
}  // namespace vrampool::testing
