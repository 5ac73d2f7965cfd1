// logging.h - the daemon's log: one line per event, as key=value pairs.
//
//   Log(LogLevel::kInfo, "session attached", {{"session", 7}, {"uid", uid}});
//   2026-11-02T10:00:00.123+0000 level=info event="session attached" session=7
//
// A value with anything but letters, digits and a few signs in it is quoted and
// escaped, so that a client's label cannot forge a line. No token, handle,
// secret or object name's bytes beyond 256 get into it: callers pass ids.
//
// The logger is the one that spdlog keeps for the process; StartLogging() sets
// it up, and before that (in tests) lines go to stderr at level info as well.
//
// Threads: thread-safe; StartLogging() once, before other threads exist.

#ifndef VRAMPOOL_DAEMON_OBSERVE_LOGGING_H_
#define VRAMPOOL_DAEMON_OBSERVE_LOGGING_H_

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace vrampool {

enum class LogLevel { kTrace, kDebug, kInfo, kWarn, kError };

// One pair of a line.
class LogField {
 public:
  template <std::integral T>
  LogField(std::string_view key, T value)
      : key_(key), value_(std::to_string(value)) {}
  LogField(std::string_view key, std::string_view text);

  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  std::string_view key_;  // A literal.
  std::string value_;     // As it goes into the line.
};

// "trace", "debug", "info", "warn" or "error"; anything else is "info". Under a
// service manager that stamps lines itself (JOURNAL_STREAM is set) lines carry
// a priority in place of the time.
void StartLogging(std::string_view level);

// From now on; as StartLogging() reads it.
void SetLogLevel(std::string_view level);

void Log(LogLevel level, std::string_view event,
         std::initializer_list<LogField> fields = {});

// A line of pairs that is made already: quoted as LogField quotes.
void LogReady(LogLevel level, const std::string& line);

// The line without time and level. For tests.
std::string LogLine(std::string_view event,
                    std::initializer_list<LogField> fields);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_LOGGING_H_
