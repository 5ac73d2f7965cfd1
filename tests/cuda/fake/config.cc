#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "tests/cuda/fake/shared_state.h"

namespace vrampool::fake_cuda {
namespace {

using Values = std::map<std::string, std::string>;

Values ReadValues(const std::string& path) {
  Values values;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    values[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return values;
}

uint64_t Number(const Values& values, const std::string& name,
                uint64_t otherwise) {
  const auto found = values.find(name);
  if (found == values.end()) return otherwise;
  return std::strtoull(found->second.c_str(), nullptr, 0);
}

// The hexadecimal digits of `text` after its prefix, up to 16 bytes.
cuda::Uuid ParseUuid(const std::string& text) {
  cuda::Uuid uuid{};
  std::string digits;
  for (const char c : text.substr(std::min<size_t>(4, text.size()))) {
    if (std::isxdigit(static_cast<unsigned char>(c)) != 0) digits += c;
  }
  for (size_t i = 0; i < 16 && 2 * i + 1 < digits.size(); ++i) {
    const std::string byte = digits.substr(2 * i, 2);
    uuid.bytes[i] =
        static_cast<unsigned char>(std::strtoul(byte.c_str(), nullptr, 16));
  }
  return uuid;
}

// Devices of another directory are others, to daemons too, which serve a device
// once on a machine.
std::string DefaultUuid(const std::string& directory, int device) {
  const uint64_t place = std::hash<std::string>()(directory);
  char text[64];
  std::snprintf(text, sizeof(text), "GPU-fa4ec0da-%04x-4000-8000-%08x%04x",
                static_cast<unsigned>(place >> 48),
                static_cast<unsigned>(place & 0xffffffffu),
                static_cast<unsigned>(device + 1));
  return text;
}

void ConfigureDevice(const std::string& directory, const Values& values,
                     int index, DeviceEntry& device) {
  const std::string number = std::to_string(index);
  const auto text = [&](const std::string& name, std::string otherwise) {
    const auto found = values.find(name + number);
    return found == values.end() ? otherwise : found->second;
  };
  device.uuid = ParseUuid(text("uuid", DefaultUuid(directory, index)));
  const std::string name = text("name", "Fake GPU");
  std::strncpy(device.name, name.c_str(), sizeof(device.name) - 1);
  device.total_bytes = Number(values, "total_bytes" + number,
                              Number(values, "total_bytes", uint64_t{8} << 30));
  device.is_mig = Number(values, "mig" + number, 0) != 0 ? 1 : 0;
  device.lost = 0;
}

}  // namespace

void Configure(const std::string& directory, SharedState& state) {
  const Values values = ReadValues(directory + "/config");
  state.device_count = static_cast<uint32_t>(
      std::min<uint64_t>(Number(values, "devices", 1), kMaxDevices));
  for (uint32_t i = 0; i < state.device_count; ++i) {
    ConfigureDevice(directory, values, static_cast<int>(i), state.devices[i]);
  }
  state.context_bytes = Number(values, "context_bytes", 0);
  const char* const settings[kSettings] = {"dirty", "non_isolating", "orphans"};
  for (int i = 0; i < kSettings; ++i) {
    state.settings[i] = static_cast<int>(Number(values, settings[i], 0));
  }
}

}  // namespace vrampool::fake_cuda
