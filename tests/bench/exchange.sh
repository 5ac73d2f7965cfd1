#!/usr/bin/env bash
# Measures how memory passes from one process to another, beside other ways of doing
# it, and prints one table of it:
#
#   tests/bench/exchange.sh [--gpu] [OPTION...]
#
# Options are those of exchange.py: --rounds N, --out RESULT.json, --shm FOLDER (a
# folder in memory with room for a table of 1 GiB; default /dev/shm). Builds the
# preset `release` for it, and uses the Python environments of the tests
# (tests/python/make_venv.sh). With VRAMPOOL_BUNDLE set, the programs of that folder
# (tests/gpu/bundle.sh) are used instead, and VRAMPOOL_FRAMEWORKS is the list of
# interpreters. Nothing else should use the machine meanwhile.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [[ -n ${VRAMPOOL_BUNDLE:-} ]]; then
  served=("$VRAMPOOL_BUNDLE/bin/vrampoold"
    "$VRAMPOOL_BUNDLE/lib/libvrampool.so.0")
else
  build=$root/build/release
  "$root/deploy/build.sh" release vrampoold vrampool_rpc vrampool_bench >&2
  "$root/tests/python/make_venv.sh" >&2
  served=("$build/daemon/vrampoold" "$build/client/libvrampool.so")
  set -- --bench "$build/tests/bench/vrampool_bench" "$@"
fi
exec env PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/bench/exchange.py" "$@" \
  "${VRAMPOOL_FRAMEWORKS:-$root/.venv/frameworks}" "${served[@]}"
