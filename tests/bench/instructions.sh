#!/usr/bin/env bash
# Counts the instructions of an allocation and its free, on host memory and on a
# fake GPU's:
#
#   tests/bench/instructions.sh [OPTION...]
#
# Options are those of instructions.py: --pairs N, --case NAME. Builds the preset
# `release` for it. Needs valgrind, which is not installed here.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi
if ! command -v valgrind >/dev/null; then
  echo "instructions.sh: needs valgrind: apt-get install valgrind" >&2
  exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/release
"$root/deploy/build.sh" release vrampoold vrampool_rpc vrampool_compare \
  vrampool_fake_cuda >&2
exec env PYTHONDONTWRITEBYTECODE=1 \
  python3 "$root/tests/bench/instructions.py" "$@" \
  "$build/tests/bench/compare/vrampool_compare" "$build/daemon/vrampoold" \
  "$build/tests/cuda/libvrampool-fake-cuda.so"
