#include "client/cuda/stream_events.h"

namespace vrampool::client {
namespace {

using Passage = CaptureGuard::Passage;
using Reach = CaptureGuard::Reach;

Status WouldSpoil() {
  return {VRAMPOOL_UNAVAILABLE,
          "a stream is being captured into a graph, which an event on the "
          "default stream, or on all, would spoil; try again when the capture "
          "has ended, or use a stream of your own"};
}

// `act`s on the stream, unless it is the legacy one and that would spoil a
// capture, announced or not.
template <typename Act>
Status OnStream(StreamEvents& events, cudaStream_t stream, const Act& act) {
  if (!IsLegacy(stream)) return act();
  const Passage passage(events.captures(), Reach::kLegacyStream);
  if (!passage.is_open()) return WouldSpoil();
  const Result<StreamUse> use = events.Identify(stream);
  if (!use.ok()) return use.status();
  return use->takes_events ? act() : WouldSpoil();
}

}  // namespace

Status StreamEvents::Record(cuda::Event event, cudaStream_t stream) {
  return OnStream(*this, stream, [&] { return RecordNow(event, stream); });
}

Status StreamEvents::RecordAll(cuda::Event event) {
  const Passage passage(captures(), Reach::kAllStreams);
  return passage.is_open() ? RecordAllNow(event) : WouldSpoil();
}

Status StreamEvents::MakeWait(cudaStream_t stream, cuda::Event event) {
  return OnStream(*this, stream, [&] { return MakeWaitNow(stream, event); });
}

Status StreamEvents::Fill(cudaStream_t stream, const Filling& filling) {
  return OnStream(*this, stream, [&] { return FillNow(stream, filling); });
}

}  // namespace vrampool::client
