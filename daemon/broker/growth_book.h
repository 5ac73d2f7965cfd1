// growth_book.h - how live sessions' blocks grew, by tag, bounded.
//
// Who asks for growth wants an answer now, not after a second look an hour
// later; so the sums by tag are kept at times: the newest kFine samples, and of
// older ones every kCoarseStep-th, kCoarse of them. With a sample each half
// minute that is a quarter of an hour closely and six hours in all.
//
// A suspect is a tag that has grown and not come back: over the longest window
// it was never as low in the last third as it was high in the first. A cache
// that fills and empties is none, nor is a program that has just started.
//
// Bounds: kTagsOfASession tags of a session, the largest; kSeries in all.
//
// Threads: not thread-safe; Broker guards it.

#ifndef VRAMPOOL_DAEMON_BROKER_GROWTH_BOOK_H_
#define VRAMPOOL_DAEMON_BROKER_GROWTH_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace vrampool {

struct TagUse {
  std::string tag;
  uint64_t blocks = 0;
  Bytes bytes;
};

struct GrowthWindow {
  absl::Duration span;  // As sampled: about what was asked for.
  int64_t bytes = 0;    // More (or fewer) than at its begin.
  int64_t blocks = 0;
  bool operator==(const GrowthWindow&) const = default;
};

struct TagGrowth {
  std::string tag;
  uint64_t blocks = 0;  // At the last sample.
  Bytes bytes;
  bool is_suspect = false;
  std::vector<GrowthWindow> windows;  // The shortest first.
};

class GrowthBook {
 public:
  static constexpr size_t kFine = 32;
  static constexpr size_t kCoarseStep = 16;
  static constexpr size_t kCoarse = 48;
  static constexpr size_t kTagsOfASession = 32;
  static constexpr size_t kSeries = 4096;
  // A suspect has at least so many samples and has grown by so much.
  static constexpr size_t kSuspectSamples = 9;
  static constexpr Bytes kSuspectBytes = MiB(1);

  // What all tags of a session have now; a tag that is missing has nothing.
  void Add(SessionId session, absl::Time now, const std::vector<TagUse>& uses);
  // Nothing has changed since its last sample.
  void Repeat(SessionId session, absl::Time now);
  void Forget(SessionId session);

  // Windows of about 5 minutes, 15 minutes, 1 hour and 6 hours, as far as there
  // are samples. By growth in the longest window, the largest first.
  std::vector<TagGrowth> Of(SessionId session) const;

  size_t series() const { return series_; }

 private:
  struct Sample {
    int64_t unix_ns = 0;
    uint64_t bytes = 0;
    uint64_t blocks = 0;
  };
  struct Series {
    std::vector<Sample> coarse;  // Oldest first; all older than those of fine.
    std::vector<Sample> fine;
    size_t since_coarse = 0;  // Samples that left fine and were dropped.
  };
  using Tags = std::map<std::string, Series>;

  static void Push(Series& series, const Sample& sample);
  static std::vector<Sample> AllOf(const Series& series);
  static bool IsSuspect(const std::vector<Sample>& samples);

  absl::flat_hash_map<SessionId, Tags> sessions_;
  size_t series_ = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_GROWTH_BOOK_H_
