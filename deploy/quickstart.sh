#!/usr/bin/env bash
# From a fresh clone to a running broker, in one command:
#
#   deploy/quickstart.sh
#
# Installs what is missing, builds, starts a daemon in a private folder, runs
# the demo against it, shows what the command line tells, and stops the daemon.
# Leaves no process behind. A second run takes seconds.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
build=$root/build/release
targets=(vrampoold vrampool_cli vrampool vrampool_rpc vrampool_demo)

say() { printf '\n== %s\n' "$*"; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/vrampool-quickstart.XXXXXX")
marker="VRAMPOOL_QUICKSTART=$$-$(basename "$scratch")"
daemon_pid=

# Asks the daemon to stop, and insists after 10 seconds.
stop_daemon() {
  [[ -n $daemon_pid ]] || return 0
  kill -TERM "$daemon_pid" 2>/dev/null || true
  timeout 10 tail --pid="$daemon_pid" -f /dev/null ||
    kill -KILL "$daemon_pid" 2>/dev/null || true
  wait "$daemon_pid" 2>/dev/null || daemon_status=$?
  daemon_pid=
}

cleanup() {
  local status=$?
  trap - EXIT INT TERM
  daemon_status=0
  stop_daemon
  if ! deploy/leftovers.sh "$marker" --kill >"$scratch/leftovers"; then
    echo "quickstart.sh: these processes were left and have been ended:" >&2
    cat "$scratch/leftovers" >&2
    ((status != 0)) || status=1
  fi
  rm -rf "$scratch"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "Packages"
deploy/install_packages.sh --build
echo "all there"

say "Build (the first one takes minutes)"
deploy/build.sh release -DVRAMPOOL_BUILD_TESTS=OFF "${targets[@]}"
vrampoold=$build/daemon/vrampoold
vrampool=$build/client/cli/vrampool
demo=$build/deploy/demo/vrampool_demo

say "Daemon"
if compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
  echo "There is a GPU here; the demo runs on host memory (docs/gpu.md is for the GPU)."
else
  echo "No GPU here: serving host memory."
fi
export VRAMPOOL_DIR=$scratch/run
mkdir -m 0700 "$VRAMPOOL_DIR"
# A device of its own name: another daemon may be serving "host" already.
cat >"$scratch/vrampoold.textproto" <<CONFIG
device: "host:quickstart-$$"
directory: "$VRAMPOOL_DIR"
pool_size: "256MiB"
default_limit: "128MiB"
admin_uids: $(id -u)
CONFIG

# Runs a command that the last check of this script can find again.
marked() { env "$marker" "$@"; }

coproc ready {
  marked python3 deploy/await_ready.py "$scratch/notify" 30
}
ready_pid=$!
# Copies: bash closes a coprocess's own descriptors the moment that it ends.
exec {ready_out}<&"${ready[0]}" {ready_in}>&"${ready[1]}"
read -r line <&"$ready_out"
[[ $line == bound ]]
# Not by `marked`: the process in the background must be the daemon itself.
env "$marker" NOTIFY_SOCKET="$scratch/notify" "$vrampoold" \
  --config "$scratch/vrampoold.textproto" >"$scratch/daemon.log" 2>&1 &
daemon_pid=$!
echo "$daemon_pid" >&"$ready_in"
read -r line <&"$ready_out" || line="no answer"
wait "$ready_pid" || true
if [[ $line != ready ]]; then
  echo "quickstart.sh: $line. Its log:" >&2
  cat "$scratch/daemon.log" >&2
  exit 1
fi
echo "vrampoold is ready (process $daemon_pid, sockets in $VRAMPOOL_DIR)"

say "Demo"
marked "$demo"

say "What the command line tells now"
for command in status tenants leaks; do
  echo "\$ vrampool $command"
  marked "$vrampool" "$command"
  echo
done

say "Stopping the daemon"
daemon_status=0
stop_daemon
if ((daemon_status != 0)); then
  echo "quickstart.sh: the daemon ended with status $daemon_status. Its log:" >&2
  cat "$scratch/daemon.log" >&2
  exit 1
fi
deploy/leftovers.sh "$marker" >"$scratch/leftovers" || exit 1
echo "stopped; no process left"

cat <<NEXT

How to go on:
  export VRAMPOOL_DIR=/tmp/vrampool
  build/release/daemon/vrampoold --pool-size 1GiB &   # a daemon of your own
  build/release/client/cli/vrampool status            # ask it
  sudo cmake --install build/release                  # install all of it
  tests/run.sh                                        # run every test
NEXT
