#!/usr/bin/env bash
# Runs the quickstart from a folder that tests/gpu/bundle.sh made, and expects
# that it served a GPU and that the demo passed with both kinds of its memory:
#
#   tests/gpu/quickstart_test.sh FOLDER
#
# The GPU may be the fake driver's (VRAMPOOL_CUDA_DRIVER), a fresh one.
set -euo pipefail

folder=$(cd "${1:?usage: quickstart_test.sh FOLDER}" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export VRAMPOOL_FAKE_CUDA_DIR=$scratch/devices  # The real driver ignores it.
mkdir "$VRAMPOOL_FAKE_CUDA_DIR"

deploy/quickstart.sh --bundle "$folder" | tee "$scratch/output"

expect() {
  grep -qxF -- "$1" "$scratch/output" || {
    echo "quickstart_test.sh: it does not say: $1" >&2
    exit 1
  }
}
expect "Serving 512 MiB of a GPU."
for kind in CUDA_IPC VMM_FD; do
  expect "demo passed with memory of kind $kind"
done
expect "stopped; no process left"
