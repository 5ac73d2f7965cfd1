#include "daemon/broker/growth_book.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <utility>

namespace vrampool {
namespace {

constexpr std::array<absl::Duration, 4> kWindows = {
    absl::Minutes(5), absl::Minutes(15), absl::Hours(1), absl::Hours(6)};

// a - b; what a liar's numbers lead to stays within the type.
int64_t Difference(uint64_t a, uint64_t b) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  return a >= b ? static_cast<int64_t>(std::min(a - b, kMost))
                : -static_cast<int64_t>(std::min(b - a, kMost));
}

int64_t LongestGrowth(const TagGrowth& growth) {
  return growth.windows.empty() ? 0 : growth.windows.back().bytes;
}

// The largest of the tags, in the order of their names.
std::vector<TagUse> Largest(std::vector<TagUse> uses, size_t most) {
  if (uses.size() > most) {
    std::stable_sort(
        uses.begin(), uses.end(),
        [](const TagUse& a, const TagUse& b) { return a.bytes > b.bytes; });
    uses.resize(most);
  }
  return uses;
}

}  // namespace

void GrowthBook::Push(Series& series, const Sample& sample) {
  if (series.fine.size() == kFine) {
    if (series.since_coarse == 0) {
      if (series.coarse.size() == kCoarse) {
        series.coarse.erase(series.coarse.begin());
      }
      series.coarse.push_back(series.fine.front());
    }
    series.since_coarse = (series.since_coarse + 1) % kCoarseStep;
    series.fine.erase(series.fine.begin());
  }
  series.fine.push_back(sample);
}

void GrowthBook::Add(SessionId session, absl::Time now,
                     const std::vector<TagUse>& uses) {
  const int64_t unix_ns = absl::ToUnixNanos(now);
  Tags& tags = sessions_[session];
  std::map<std::string, Sample> samples;
  for (const auto& [tag, series] : tags) samples[tag] = {.unix_ns = unix_ns};
  const size_t room = kTagsOfASession - std::min(kTagsOfASession, tags.size());
  std::vector<TagUse> unknown;
  for (const TagUse& use : uses) {
    const auto known = samples.find(use.tag);
    if (known == samples.end()) {
      unknown.push_back(use);
    } else {
      known->second.bytes = use.bytes.count();
      known->second.blocks = use.blocks;
    }
  }
  for (const TagUse& use : Largest(std::move(unknown), room)) {
    if (series_ == kSeries) break;
    ++series_;
    samples[use.tag] = {
        .unix_ns = unix_ns, .bytes = use.bytes.count(), .blocks = use.blocks};
  }
  for (const auto& [tag, sample] : samples) Push(tags[tag], sample);
  // A tag that had nothing for as long as its samples go back makes room.
  for (auto at = tags.begin(); at != tags.end();) {
    const std::vector<Sample>& fine = at->second.fine;
    const bool is_over =
        fine.size() == kFine &&
        std::all_of(fine.begin(), fine.end(),
                    [](const Sample& sample) { return sample.blocks == 0; });
    if (is_over) --series_;
    at = is_over ? tags.erase(at) : std::next(at);
  }
}

void GrowthBook::Repeat(SessionId session, absl::Time now) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  for (auto& [tag, series] : found->second) {
    Sample sample = series.fine.back();
    sample.unix_ns = absl::ToUnixNanos(now);
    Push(series, sample);
  }
}

void GrowthBook::Forget(SessionId session) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  series_ -= found->second.size();
  sessions_.erase(found);
}

std::vector<GrowthBook::Sample> GrowthBook::AllOf(const Series& series) {
  std::vector<Sample> samples = series.coarse;
  samples.insert(samples.end(), series.fine.begin(), series.fine.end());
  return samples;
}

bool GrowthBook::IsSuspect(const std::vector<Sample>& samples) {
  if (samples.size() < kSuspectSamples) return false;
  const auto is_less = [](const Sample& a, const Sample& b) {
    return a.bytes < b.bytes;
  };
  // By time and not by number: the later samples are closer together.
  const int64_t begin = samples.front().unix_ns;
  const int64_t third = (samples.back().unix_ns - begin) / 3;
  const auto first_end = std::find_if(
      samples.begin(), samples.end(),
      [&](const Sample& sample) { return sample.unix_ns > begin + third; });
  const auto last_begin =
      std::find_if(first_end, samples.end(), [&](const Sample& sample) {
        return sample.unix_ns > samples.back().unix_ns - third;
      });
  if (first_end == samples.end() || last_begin == samples.end()) return false;
  const uint64_t high =
      std::max_element(samples.begin(), first_end, is_less)->bytes;
  const uint64_t low =
      std::min_element(last_begin, samples.end(), is_less)->bytes;
  return low > high && low - high >= kSuspectBytes.count();
}

std::vector<TagGrowth> GrowthBook::Of(SessionId session) const {
  std::vector<TagGrowth> all;
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return all;
  for (const auto& [tag, series] : found->second) {
    const std::vector<Sample> samples = AllOf(series);
    const Sample& last = samples.back();
    TagGrowth growth;
    growth.tag = tag;
    growth.blocks = last.blocks;
    growth.bytes = Bytes(last.bytes);
    growth.is_suspect = IsSuspect(samples);
    for (const absl::Duration window : kWindows) {
      const int64_t wanted = absl::ToInt64Nanoseconds(window);
      const auto first = std::min_element(
          samples.begin(), samples.end(),
          [&](const Sample& a, const Sample& b) {
            return std::abs(last.unix_ns - a.unix_ns - wanted) <
                   std::abs(last.unix_ns - b.unix_ns - wanted);
          });
      const absl::Duration span =
          absl::Nanoseconds(last.unix_ns - first->unix_ns);
      const bool is_new =
          growth.windows.empty() || span > growth.windows.back().span;
      if (span * 2 < window || span > window * 2 || !is_new) continue;
      growth.windows.push_back(
          {.span = span,
           .bytes = Difference(last.bytes, first->bytes),
           .blocks = Difference(last.blocks, first->blocks)});
    }
    all.push_back(std::move(growth));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const TagGrowth& a, const TagGrowth& b) {
                     return LongestGrowth(a) > LongestGrowth(b);
                   });
  return all;
}

}  // namespace vrampool
