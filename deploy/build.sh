#!/usr/bin/env bash
# Configures a preset where that is still to be done, and builds.
#
#   deploy/build.sh PRESET [-DNAME=VALUE...] [TARGET...]
#
# Uses ccache when it is installed, and as many jobs as cores and memory carry.
# Settings given by -D count only when the folder is configured for the first
# time, so that they never undo what was chosen there by hand.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if (($# == 0)); then
  echo "usage: deploy/build.sh PRESET [-DNAME=VALUE...] [TARGET...]" >&2
  exit 2
fi
preset=$1
shift
settings=() targets=()
for arg in "$@"; do
  case "$arg" in
    -D*) settings+=("$arg") ;;
    *) targets+=("$arg") ;;
  esac
done

# A file that includes gRPC takes the compiler up to 1 GiB, more with
# sanitizers.
jobs() {
  local cores available_kib by_memory
  cores=$(nproc)
  available_kib=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
  by_memory=$((${available_kib:-1048576} / 1310720))
  ((by_memory >= 1)) || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

if command -v ccache >/dev/null; then
  settings+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache
    -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  # Results are shared between clones in different folders.
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root}
  export CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-true}
fi

cd "$root"
if [[ ! -f build/$preset/build.ninja ]]; then
  cmake --preset "$preset" "${settings[@]}"
fi
build=(cmake --build "build/$preset" -j "$(jobs)")
((${#targets[@]} == 0)) || build+=(--target "${targets[@]}")
exec "${build[@]}"
