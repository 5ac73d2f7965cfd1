// translate.h - between the library's plain structs and the protocol's
// messages.
//
// Replies are bounds-checked: a Fill function is false when a reply does not
// fit what the contract allows.
//
// Threads: functions of their arguments.

#ifndef VRAMPOOL_CLIENT_RPC_TRANSLATE_H_
#define VRAMPOOL_CLIENT_RPC_TRANSLATE_H_

#include "client/session/control_channel.h"
#include "vrampool/v1/broker.pb.h"

namespace vrampool::client {

v1::LeaseRequest ToProto(const LeaseCall& call);
v1::ReturnRequest ToProto(const ReturnCall& call);
v1::ShareRequest ToProto(const ShareCall& call);
v1::OpenRequest ToProto(const OpenCall& call);
v1::WaitRequest ToProto(const WaitCall& call);

[[nodiscard]] bool Fill(const v1::LeaseResponse& from, LeaseReply& to);
[[nodiscard]] bool Fill(const v1::ShareResponse& from, ShareReply& to);
[[nodiscard]] bool Fill(const v1::OpenResponse& from, OpenReply& to);
[[nodiscard]] bool Fill(const v1::BudgetResponse& from, BudgetReply& to);
bool Fill(const v1::ReserveResponse& from, ReserveReply& to);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_RPC_TRANSLATE_H_
