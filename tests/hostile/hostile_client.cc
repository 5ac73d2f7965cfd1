// A hostile client as a process of its own: hostile_client DIRECTORY ID.
//
// With an ID other than 0 it becomes that user and group first. Then it reads
// orders from its standard input and answers each with one line: "ok ..." or
// what came instead.
//
//   attach                    ok TOKEN (hexadecimal)
//   token TOKEN               uses another one
//   budget                    asks for its budget
//   lease BYTES               ok LEASE; the slab is mapped
//   return LEASE yes|no       says that it unmapped the slab (yes) or keeps it,
//                             and keeps it mapped in both cases
//   fill BYTE                 writes the slab mapped last full of BYTE
//   is BYTE                   ok if the slab mapped last is full of BYTE
//   unmap                     really unmaps it, and keeps its handle
//   again                     maps it once more by that handle: "refused" if
//   the
//                             handle opens nothing any more
//   detach                    closes its session, and keeps the mapping
//   garbage                   writes random words into its manifest

#include <grp.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/escaping.h"
#include "tests/hostile/raw_session.h"

namespace vrampool::testing {
namespace {

class HostileClient {
 public:
  explicit HostileClient(std::string directory)
      : directory_(std::move(directory)) {}

  std::string Obey(const std::string& line) {
    std::istringstream words(line);
    std::string order;
    words >> order;
    if (order == "attach") return DoAttach();
    if (session_ == nullptr) return "not attached";
    if (order == "token") {
      std::string token;
      words >> token;
      session_->channel().set_token(absl::HexStringToBytes(token));
      return "ok";
    }
    if (order == "budget") {
      return Say(session_->channel().Call("Budget", v1::BudgetRequest()));
    }
    if (order == "lease") return DoLease(words);
    if (order == "return") return DoReturn(words);
    if (order == "detach") {
      session_->attach().Close();
      return "ok";
    }
    if (order == "garbage") {
      return session_->FillManifestWithGarbage(7) ? "ok" : "failed";
    }
    if (slab_ == nullptr) return "no slab";
    if (order == "again") return slab_->MapAgain() ? "ok" : "refused";
    if (!slab_->is_mapped()) return "nothing mapped";
    if (order == "unmap") {
      slab_->Unmap();
      return "ok";
    }
    int byte = 0;
    words >> byte;
    if (order == "fill") {
      slab_->Fill(static_cast<unsigned char>(byte));
      return "ok";
    }
    if (order == "is") {
      return slab_->IsFull(static_cast<unsigned char>(byte)) ? "ok"
                                                             : "it is not";
    }
    return "unknown order";
  }

 private:
  static std::string Say(const Answer& answer) {
    return answer.ok() ? "ok" : Describe(answer);
  }
  std::string DoAttach() {
    auto attached = RawSession::Attach(directory_);
    if (!attached.ok()) return std::string(attached.status().message());
    session_ = *std::move(attached);
    return "ok " + absl::BytesToHexString(session_->channel().token());
  }
  std::string DoLease(std::istringstream& words) {
    uint64_t bytes = 0;
    words >> bytes;
    v1::LeaseResponse lease;
    const Answer answer = session_->Lease(bytes, lease, /*wait_ms=*/20000);
    if (!answer.ok()) return Say(answer);
    slab_ = session_->MapNextSlab();
    if (slab_ == nullptr || slab_->id() != lease.slab().slab_id()) {
      return "no handle";
    }
    return "ok " + std::to_string(lease.lease_id());
  }
  std::string DoReturn(std::istringstream& words) {
    uint64_t lease = 0;
    std::string is_unmapped;
    words >> lease >> is_unmapped;
    return Say(session_->Return(
        lease, is_unmapped == "yes" ? v1::ReturnRequest::MAPPING_UNMAPPED
                                    : v1::ReturnRequest::MAPPING_STILL_MAPPED));
  }

  const std::string directory_;
  std::unique_ptr<RawSession> session_;
  std::unique_ptr<RawSlab> slab_;
};

bool Become(unsigned id) {
  if (id == 0) return true;
  return ::setgroups(0, nullptr) == 0 && ::setresgid(id, id, id) == 0 &&
         ::setresuid(id, id, id) == 0;
}

}  // namespace
}  // namespace vrampool::testing

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  if (!vrampool::testing::Become(
          static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)))) {
    return 3;
  }
  vrampool::testing::HostileClient client(argv[1]);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << client.Obey(line) << std::endl;
  }
}
