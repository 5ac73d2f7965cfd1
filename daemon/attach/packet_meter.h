// packet_meter.h - tells a busy client from a flooding one: a bucket of packets
// that fills at a steady rate.
//
// Threads: not thread-safe. The caller brings the time.

#ifndef VRAMPOOL_DAEMON_ATTACH_PACKET_METER_H_
#define VRAMPOOL_DAEMON_ATTACH_PACKET_METER_H_

#include <algorithm>
#include <chrono>

namespace vrampool {

class PacketMeter {
 public:
  struct Rates {
    double burst;
    double per_second;
  };
  using Time = std::chrono::steady_clock::time_point;

  // Full at `now`.
  PacketMeter(Rates rates, Time now)
      : rates_(rates), level_(rates.burst), filled_at_(now) {}

  // Counts one packet. False: that was one too many.
  bool Count(Time now) {
    const double seconds =
        std::chrono::duration<double>(now - filled_at_).count();
    level_ = std::min(rates_.burst, level_ + seconds * rates_.per_second);
    filled_at_ = now;
    if (level_ < 1) return false;
    level_ -= 1;
    return true;
  }
  // The packet counted last was worth it.
  void Refund() { level_ = std::min(rates_.burst, level_ + 1); }

 private:
  const Rates rates_;
  double level_;
  Time filled_at_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_PACKET_METER_H_
