// `vrampool objects`: what is shared, by whom, and who holds it.

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/ids.h"
#include "client/cli/commands.h"
#include "client/cli/listing.h"
#include "client/cli/object_table.h"
#include "client/cli/text.h"

namespace vrampool::cli {
namespace {

// "slot.generation": both are small, the id that they make is not.
bool Concerns(const v1::ObjectInfo& object, uint64_t session) {
  return object.producer_session() == session ||
         std::count(object.holders().begin(), object.holders().end(), session) >
             0;
}

}  // namespace

TableOf<v1::ObjectInfo> ObjectTable(absl::Time now) {
  using Row = v1::ObjectInfo;
  return {
      {"OBJECT", Align::kRight,
       [](const Row& row) {
         return Cell{.text = FormatObjectId(row.object_id()),
                     .key = row.object_id()};
       }},
      {"NAME", Align::kLeft, [](const Row& row) { return Text(row.name()); }},
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.tenant()); }},
      {"STATE", Align::kLeft,
       [](const Row& row) {
         return Text(absl::StrCat(row.state(), row.sealed() ? ", sealed" : ""));
       }},
      {"SIZE", Align::kRight,
       [](const Row& row) { return Size(row.size_bytes()); }},
      {"BUFFERS", Align::kRight,
       [](const Row& row) { return Number(row.buffers()); }},
      {"PRODUCER", Align::kRight,
       [](const Row& row) {
         return Cell{
             .text = absl::StrCat(row.producer_session(),
                                  row.producer_alive() ? "" : " (gone)"),
             .key = row.producer_session()};
       }},
      {"HOLDS", Align::kRight,
       [](const Row& row) { return Number(row.holds()); }},
      {"HOLDERS", Align::kLeft,
       [](const Row& row) { return Text(absl::StrJoin(row.holders(), ",")); }},
      {"GRANTS", Align::kLeft,
       [](const Row& row) { return Text(absl::StrJoin(row.grants(), ",")); }},
      {"METADATA", Align::kRight,
       [](const Row& row) { return Size(row.metadata_bytes()); }},
      {"AGE", Align::kRight,
       [now](const Row& row) { return Age(row.created_unix_ns(), now); }},
      {"OPENED", Align::kRight,
       [now](const Row& row) { return Age(row.last_opened_unix_ns(), now); }},
      {"EXPIRES", Align::kRight,
       [now](const Row& row) { return Until(row.expires_unix_ns(), now); }},
  };
}

absl::StatusOr<ExitCode> RunObjects(const Context& context) {
  const Options& options = context.options;
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(options));
  VRAMPOOL_ASSIGN_OR_RETURN(v1::ListObjectsResponse reply,
                            client->ListObjects());
  KeepOnly(reply.mutable_objects(), [&](const v1::ObjectInfo& object) {
    return IsWithinTenant(object.tenant(), options.tenant) &&
           (options.session == 0 || Concerns(object, options.session)) &&
           IsOlderThan(object.created_unix_ns(), options.min_age, context.now);
  });
  return PrintListing(context, ObjectTable(context.now), reply,
                      reply.mutable_objects());
}

}  // namespace vrampool::cli
