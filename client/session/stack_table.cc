#include "client/session/stack_table.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "client/session/manifest_section.h"

namespace vrampool::client {
namespace {

// As much of it as there is room for, at the end of a code point.
std::string Cut(const std::string& text) {
  size_t size = std::min(text.size(), sizeof(shm::FrameText::text) - 1);
  if (size == text.size()) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) {
    --size;
  }
  return text.substr(0, size);
}

uint64_t AddressOf(const std::vector<CallStack::Frame>& frames) {
  return frames.empty() ? 0 : frames.front().address;
}

}  // namespace

uint64_t StackTable::Note(const CallStack& stack) {
  try {
    Frames frames = stack.frames;
    if (frames.size() > shm::kStackFrames) frames.resize(shm::kStackFrames);
    for (CallStack::Frame& frame : frames) frame.text = Cut(frame.text);
    return TryNote(frames, stack.log2_interval);
  } catch (const std::bad_alloc&) {
    return AddressOf(stack.frames);
  }
}

uint64_t StackTable::TryNote(const Frames& frames, unsigned log2_interval) {
  if (const auto found = numbers_.find(frames); found != numbers_.end()) {
    return shm::SiteOfStack(found->second, log2_interval);
  }
  if (numbers_.size() == shm::kStackCapacity || frames.empty()) {
    return AddressOf(frames);
  }
  const auto words = WordsOf(frames);
  if (!words) return AddressOf(frames);
  const auto number = static_cast<uint32_t>(numbers_.size());
  const auto entry = numbers_.emplace(frames, number).first;
  (*stacks_)[number].store(&entry->first, std::memory_order_release);
  shm::Stack& place = places_.stacks[number];
  ManifestSection section;
  std::copy(words->begin(), words->end(), place.frames);
  place.is_set.store(1, std::memory_order_release);
  return shm::SiteOfStack(number, log2_interval);
}

std::optional<std::vector<uint64_t>> StackTable::WordsOf(const Frames& frames) {
  std::vector<uint64_t> words;
  words.reserve(frames.size());
  for (const CallStack::Frame& frame : frames) {
    if (frame.text.empty()) {
      words.push_back(frame.address & ~shm::kFrameMark);
      continue;
    }
    const std::optional<uint32_t> text = NoteText(frame.text);
    if (!text) return std::nullopt;
    words.push_back(shm::kFrameMark | *text);
  }
  return words;
}

std::optional<uint32_t> StackTable::NoteText(const std::string& text) {
  if (const auto found = texts_.find(text); found != texts_.end()) {
    return found->second;
  }
  const auto number = static_cast<uint32_t>(texts_.size());
  if (number == shm::kFrameCapacity) return std::nullopt;
  texts_.emplace(text, number);
  shm::FrameText& place = places_.frames[number];
  ManifestSection section;
  std::memcpy(place.text, text.data(), text.size());
  place.is_set.store(1, std::memory_order_release);
  return number;
}

std::vector<CallStack::Frame> StackTable::FramesOf(uint64_t site) const {
  if (!shm::IsStack(site)) return {{.address = site}};
  const uint32_t number = shm::StackOf(site);
  if (number >= shm::kStackCapacity) return {};
  const Frames* const known =
      (*stacks_)[number].load(std::memory_order_acquire);
  return known == nullptr ? Frames() : *known;
}

}  // namespace vrampool::client
