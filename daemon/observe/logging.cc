#include "daemon/observe/logging.h"

#include <cstdlib>
#include <memory>
#include <utility>

#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace vrampool {
namespace {

constexpr size_t kMaxValueBytes = 256;

bool IsPlain(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
      "._-/:@+%,";
  return !text.empty() &&
         text.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string Quoted(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text.substr(0, kMaxValueBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += "\\x";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else {
      quoted += c;
    }
  }
  if (text.size() > kMaxValueBytes) quoted += "...";
  return quoted + '"';
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

spdlog::level::level_enum ThresholdOf(std::string_view level) {
  const auto threshold = spdlog::level::from_str(std::string(level));
  // from_str says "off" for what it does not know: never be silent by mistake.
  return threshold == spdlog::level::off ? spdlog::level::info : threshold;
}

// "%*": the syslog priority in angle brackets, which the journal reads.
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const char* const text = message.level >= spdlog::level::err    ? "<3>"
                             : message.level == spdlog::level::warn ? "<4>"
                             : message.level == spdlog::level::info ? "<6>"
                                                                    : "<7>";
    out.append(text, text + 3);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

}  // namespace

LogField::LogField(std::string_view key, std::string_view text)
    : key_(key),
      value_(IsPlain(text) && text.size() <= kMaxValueBytes ? std::string(text)
                                                            : Quoted(text)) {}

void StartLogging(std::string_view level) {
  auto logger = std::make_shared<spdlog::logger>(
      "vrampoold", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Priority>('*');
  formatter->set_pattern(std::getenv("JOURNAL_STREAM") != nullptr
                             ? "%*level=%l %v"
                             : "%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  logger->set_formatter(std::move(formatter));
  logger->set_level(ThresholdOf(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

void SetLogLevel(std::string_view level) {
  spdlog::default_logger()->set_level(ThresholdOf(level));
}

std::string LogLine(std::string_view event,
                    std::initializer_list<LogField> fields) {
  std::string line = "event=";
  line += LogField("", event).value();
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key();
    line += '=';
    line += field.value();
  }
  return line;
}

void Log(LogLevel level, std::string_view event,
         std::initializer_list<LogField> fields) {
  const spdlog::level::level_enum wanted = SpdlogLevel(level);
  if (!spdlog::should_log(wanted)) return;
  spdlog::log(wanted, "{}", LogLine(event, fields));
}

void LogReady(LogLevel level, const std::string& line) {
  spdlog::log(SpdlogLevel(level), "{}", line);
}

}  // namespace vrampool
