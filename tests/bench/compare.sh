#!/usr/bin/env bash
# Measures our allocator beside others at the same work, and prints one table:
#
#   tests/bench/compare.sh [--gpu] [OPTION...]
#
# Options are those of compare.py: --rounds N, --log FILE (a log of RMM's
# logging_resource_adaptor to replay; any number of them), --out RESULT.json.
# PyTorch's allocator is compared where the library that compare/build_torch.sh
# makes is in LD_LIBRARY_PATH. Builds the preset
# `release` for it; with VRAMPOOL_BUNDLE set, the programs of that folder
# (tests/gpu/bundle.sh) are used instead. Nothing else should use the machine
# meanwhile.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [[ -n ${VRAMPOOL_BUNDLE:-} ]]; then
  program=$VRAMPOOL_BUNDLE/bin/vrampool_compare
  daemon=$VRAMPOOL_BUNDLE/bin/vrampoold
else
  build=$root/build/release
  "$root/deploy/build.sh" release vrampoold vrampool_rpc vrampool_compare \
    vrampool_compare_rmm >&2
  program=$build/tests/bench/compare/vrampool_compare
  daemon=$build/daemon/vrampoold
fi
exec env PYTHONDONTWRITEBYTECODE=1 \
  python3 "$root/tests/bench/compare.py" "$@" "$program" "$daemon"
