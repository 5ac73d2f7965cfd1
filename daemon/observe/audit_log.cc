#include "daemon/observe/audit_log.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/core/refusal.h"
#include "daemon/observe/logging.h"
#include "daemon/observe/reason_name.h"
#include "vrampool/v1/admin.pb.h"

namespace vrampool {
namespace {

constexpr mode_t kMode = 0600;
// A file that cannot be opened is tried again, with whatever comes then.
constexpr absl::Duration kBetweenTries = absl::Seconds(1);

// "lease-granted".
std::string NameOf(EventKind kind) {
  constexpr std::string_view kPrefix = "KIND_";
  std::string name = v1::Event::Kind_Name(static_cast<v1::Event::Kind>(kind))
                         .substr(kPrefix.size());
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    if (c == '_') return '-';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return name;
}

// Grants, refusals, changes, evictions; who came and went.
bool IsAudited(EventKind kind) {
  switch (kind) {
    case EventKind::kSessionAttached:
    case EventKind::kSessionRefused:
    case EventKind::kSessionCondemned:
    case EventKind::kSessionEnded:
    case EventKind::kLeaseGranted:
    case EventKind::kLeaseReturned:
    case EventKind::kLeaseRefused:
    case EventKind::kCallRefused:
    case EventKind::kRoomReserved:
    case EventKind::kObjectOpened:
    case EventKind::kQuotaChanged:
    case EventKind::kConfigReloaded:
      return true;
    case EventKind::kWatching:
    case EventKind::kObjectShared:
    case EventKind::kObjectEnded:
    case EventKind::kReclaimAsked:
    case EventKind::kDeviceHealth:
    case EventKind::kAlertRaised:
    case EventKind::kAlertEnded:
      return false;
  }
  return false;
}

template <typename T>
void Append(std::string_view key, const T& value, std::string& line) {
  line += ' ';
  line += key;
  line += '=';
  line += LogField(key, value).value();
}

template <typename T>
void AppendUnlessZero(std::string_view key, T value, std::string& line) {
  const auto number = static_cast<uint64_t>(value);
  if (number != 0) Append(key, number, line);
}

void AppendRefusal(const absl::Status& status, std::string& line) {
  Append("reason", std::string_view(ReasonNameOf(status)), line);
  const std::optional<Refusal> refusal = RefusalOf(status);
  if (refusal.has_value()) {
    const auto put = [&line](std::string_view key,
                             const std::optional<Bytes>& bytes) {
      if (bytes.has_value()) Append(key, bytes->count(), line);
    };
    if (!refusal->subject.empty()) {
      Append("subject", std::string_view(refusal->subject), line);
    }
    put("charged_bytes", refusal->charged);
    put("used_bytes", refusal->used);
    put("limit_bytes", refusal->limit);
    if (refusal->retry_after.has_value()) {
      Append("retry_after_ms", absl::ToInt64Milliseconds(*refusal->retry_after),
             line);
    }
  }
  Append("why",
         std::string_view(status.message().data(), status.message().size()),
         line);
}

std::string TimeOf(absl::Time at) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6S%z", at, absl::UTCTimeZone());
}

}  // namespace

std::string AuditLog::LineOf(const Event& event) {
  std::string line = "event=" + NameOf(event.kind);
  if (!event.tenant.empty()) {
    Append("tenant", std::string_view(event.tenant), line);
  }
  AppendUnlessZero("session", event.session, line);
  AppendUnlessZero("pid", event.pid, line);
  if (event.uid.has_value()) Append("uid", *event.uid, line);
  AppendUnlessZero("lease", event.lease, line);
  AppendUnlessZero("slab", event.slab, line);
  AppendUnlessZero("object", event.object, line);
  AppendUnlessZero("bytes", event.bytes.count(), line);
  if (!event.text.empty()) Append("text", std::string_view(event.text), line);
  if (!event.refusal.ok()) AppendRefusal(event.refusal, line);
  return line;
}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Start(
    std::string_view destination) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC));
  if (!wake.is_valid()) {
    return absl::InternalError(absl::StrCat("no descriptor for the audit log: ",
                                            std::strerror(errno)));
  }
  std::unique_ptr<AuditLog> log(new AuditLog(std::move(wake)));
  log->Reopen(destination);
  try {
    log->thread_ = std::thread([&self = *log] { self.Loop(); });
  } catch (const std::system_error& error) {
    return absl::InternalError(
        absl::StrCat("no thread for the audit log: ", error.what()));
  }
  return log;
}

AuditLog::AuditLog(UniqueFd wake) : wake_(std::move(wake)) {}

AuditLog::~AuditLog() {
  is_stopping_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
}

void AuditLog::Write(const Event& event) {
  if (!is_on_.load(std::memory_order_relaxed) || !IsAudited(event.kind)) return;
  if (!queue_.TryPush(Event(event))) ++lost_;
  // One system call for each time that the thread has gone to sleep.
  if (!is_awake_.exchange(true)) Wake();
}

void AuditLog::Reopen(std::string_view destination) {
  {
    const MutexLock lock(mu_);
    destination_ = std::string(destination);
    is_new_ = true;
  }
  is_on_ = !destination.empty();
  is_awake_ = true;
  Wake();
}

void AuditLog::Wake() {
  const uint64_t one = 1;
  // An eventfd takes a 1 without fail, unless it has been written 2^64 times.
  (void)!write(wake_.get(), &one, sizeof(one));
}

void AuditLog::Loop() {
  while (true) {
    uint64_t times = 0;
    while (read(wake_.get(), &times, sizeof(times)) < 0 && errno == EINTR) {
    }
    // Before looking, and by an exchange as in Write(): what was put in before
    // that one is seen now, what comes later wakes the thread again.
    (void)is_awake_.exchange(false);
    const bool is_last = is_stopping_;
    TakeDestination();
    const bool has_more = WriteQueued();
    if (has_more) {
      is_awake_ = true;
      Wake();
    } else if (is_last) {
      return;
    }
  }
}

void AuditLog::TakeDestination() {
  {
    const MutexLock lock(mu_);
    if (!is_new_) return;
    is_new_ = false;
  }
  // What is waiting goes where it was meant to go.
  if (is_in_the_log_ || !path_.empty()) (void)WriteQueued();
  const MutexLock lock(mu_);
  is_in_the_log_ = destination_ == kInTheLog;
  path_ = is_in_the_log_ ? "" : destination_;
  file_.reset();
  is_torn_ = false;
  next_try_ = absl::InfinitePast();
}

bool AuditLog::WriteQueued() {
  // A file exists as soon as it is named, so that whoever sets it up sees so.
  (void)HasFile();
  for (size_t i = 0; i < kQueue; ++i) {
    const std::optional<Event> event = queue_.TryPop();
    if (!event.has_value()) return false;
    const uint64_t lost = lost_;
    if (lost > told_lost_ &&
        WriteLine(absl::Now(),
                  absl::StrCat("event=audit-lost lines=", lost - told_lost_))) {
      told_lost_ = lost;
    }
    if (!WriteLine(event->at, LineOf(*event))) ++lost_;
  }
  return true;
}

bool AuditLog::WriteLine(absl::Time at, const std::string& line) {
  if (is_in_the_log_) {
    LogReady(LogLevel::kInfo, "audit " + line);
    return true;
  }
  if (!HasFile()) return false;
  // What was cut off ends there: the next line must not go on in it.
  const std::string text =
      absl::StrCat(is_torn_ ? "\n" : "", TimeOf(at), " ", line, "\n");
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n =
        write(file_.get(), text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      NoteTrouble("write");
      is_torn_ = is_torn_ ? written != 1 : written > 0;
      return false;
    }
    written += static_cast<size_t>(n);
  }
  is_torn_ = false;
  NoteWritten();
  return true;
}

bool AuditLog::HasFile() {
  if (file_.is_valid()) return true;
  if (path_.empty() || absl::Now() < next_try_) return false;
  // Never waits for a reader, should somebody have made a pipe of it.
  file_.reset(
      open(path_.c_str(),
           O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
           kMode));
  if (file_.is_valid()) return true;
  next_try_ = absl::Now() + kBetweenTries;
  NoteTrouble("open");
  return false;
}

void AuditLog::NoteTrouble(const char* what) {
  if (is_in_trouble_) return;
  is_in_trouble_ = true;
  Log(LogLevel::kError, "audit log cannot be written",
      {{"path", std::string_view(path_)},
       {"at", std::string_view(what)},
       {"why", std::string_view(std::strerror(errno))},
       {"note", "lines are lost, and counted"}});
}

void AuditLog::NoteWritten() {
  if (!is_in_trouble_) return;
  is_in_trouble_ = false;
  Log(LogLevel::kInfo, "audit log is written again",
      {{"path", std::string_view(path_)}, {"lost_lines", lost_.load()}});
}

}  // namespace vrampool
