#!/usr/bin/env bash
# consumer_test.sh cmake|pkg_config PREFIX LIBDIR - builds the programs of
# consumer/ against the installed tree in that way and runs them: without a
# daemon they say so in plain words, with the installed daemon they work.
set -euo pipefail

way=$1 prefix=$2 libdir=$prefix/$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deploy=$here/../../deploy

scratch=$(mktemp -d)
marker="VRAMPOOL_CONSUMER_TEST=$scratch"
cleanup() {
  local status=$?
  trap - EXIT
  "$deploy/leftovers.sh" "$marker" --kill || true
  rm -rf "$scratch"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

fail() {
  echo "$*"
  exit 1
}

case $way in
  cmake)
    cmake -S "$here/consumer" -B "$scratch/build" \
      -DCMAKE_PREFIX_PATH="$prefix"
    cmake --build "$scratch/build"
    programs=("$scratch/build/consumer_c" "$scratch/build/consumer_cc")
    ;;
  pkg_config)
    export PKG_CONFIG_PATH=$libdir/pkgconfig
    read -ra flags < <(pkg-config --cflags --libs vrampool)
    cc -std=c99 -Wall -Wextra -Wpedantic -Werror "$here/consumer/consumer.c" \
      "${flags[@]}" -Wl,-rpath,"$libdir" -o "$scratch/c"
    c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror \
      "$here/consumer/consumer.cc" "${flags[@]}" -Wl,-rpath,"$libdir" \
      -o "$scratch/cc"
    programs=("$scratch/c" "$scratch/cc")
    ;;
  *) fail "unknown way '$way'" ;;
esac

export VRAMPOOL_DIR=$scratch/run
mkdir -m 0700 "$VRAMPOOL_DIR"

for program in "${programs[@]}"; do
  if env "$marker" timeout 30 "$program" 2>"$scratch/error"; then
    fail "$program succeeded without a daemon"
  fi
  cat "$scratch/error"
  grep -q '^UNAVAILABLE: .*daemon' "$scratch/error" ||
    fail "$program did not say in plain words that there is no daemon"
done

cat >"$scratch/config" <<CONFIG
device: "host:consumer-$$"
directory: "$VRAMPOOL_DIR"
pool_size: "256MiB"
CONFIG
coproc ready { python3 "$deploy/await_ready.py" "$scratch/notify" 30; }
exec {ready_out}<&"${ready[0]}" {ready_in}>&"${ready[1]}"
read -r line <&"$ready_out"
[[ $line == bound ]] || fail "await_ready: $line"
env "$marker" NOTIFY_SOCKET="$scratch/notify" "$prefix/bin/vrampoold" \
  --config "$scratch/config" >"$scratch/daemon.log" 2>&1 &
daemon=$!
echo "$daemon" >&"$ready_in"
read -r line <&"$ready_out" || line="no answer"
[[ $line == ready ]] || { cat "$scratch/daemon.log"; fail "$line"; }

for program in "${programs[@]}"; do
  env "$marker" timeout 30 "$program" || fail "$program ended with status $?"
done

kill -TERM "$daemon"
timeout 20 tail --pid="$daemon" -f /dev/null || fail "the daemon does not stop"
wait "$daemon" || { cat "$scratch/daemon.log"; fail "the daemon ended badly"; }
"$deploy/leftovers.sh" "$marker" || fail "processes were left behind"
