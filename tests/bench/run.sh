#!/usr/bin/env bash
# Measures: builds the preset `release`, runs every benchmark against a daemon
# of its own on host memory, and prints the figures with their ratios.
#
#   tests/bench/run.sh [RESULT.json] [BENCHMARK_FLAG...]
#
# RESULT.json (default: build/release/bench.json) gets all the numbers. With
# VRAMPOOL_BUILD set, that build folder is used as it is.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
build=${VRAMPOOL_BUILD:-}
if [[ -z $build ]]; then
  build=$root/build/release
  deploy/build.sh release vrampoold vrampool_bench vrampool_rpc
fi
result=$build/bench.json
if (($# > 0)) && [[ $1 != -* ]]; then
  result=$1
  shift
fi
mkdir -p "$(dirname "$result")"

export VRAMPOOL_DAEMON=${VRAMPOOL_DAEMON:-$build/daemon/vrampoold}
"$build/tests/bench/vrampool_bench" --benchmark_out="$result" \
  --benchmark_out_format=json --benchmark_repetitions=5 \
  --benchmark_report_aggregates_only=true "$@" >&2
echo
python3 tests/bench/ratios.py "$result"
echo
echo "all numbers: $result"
