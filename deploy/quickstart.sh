#!/usr/bin/env bash
# From a fresh clone to a running broker, in one command:
#
#   deploy/quickstart.sh [--host] [--bundle FOLDER]
#
# Installs what is missing, builds, starts a daemon in a private folder, runs
# the demo against it, once with each kind of memory that it serves, shows what
# the command line tells, and stops the daemon. Leaves no process behind. A
# second run takes seconds. Serves 512 MiB of the first GPU that CUDA shows, and
# of the host's memory 256 MiB where it shows none.
#
#   --host           serves the host's memory also where there is a GPU
#   --bundle FOLDER  installs and builds nothing: runs the programs in FOLDER,
#                    which tests/gpu/bundle.sh makes; needs python3
set -euo pipefail

die() {
  echo "quickstart.sh: $*" >&2
  exit 1
}

use_host=0 bundle=
while (($# > 0)); do
  case "$1" in
    --host) use_host=1 ;;
    --bundle)
      (($# > 1)) || die "--bundle wants a folder (try --help)"
      bundle=$(cd "$2" 2>/dev/null && pwd) || die "there is no folder $2"
      shift
      ;;
    -h | --help)
      sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *) die "unknown option '$1' (try --help)" ;;
  esac
  shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
if [[ -n $bundle ]]; then
  vrampoold=$bundle/bin/vrampoold
  vrampool=$bundle/bin/vrampool
  demo=$bundle/bin/vrampool_demo
  for program in "$vrampoold" "$vrampool" "$demo"; do
    [[ -x $program ]] || die "there is no program $program"
  done
else
  vrampoold=build/release/daemon/vrampoold
  vrampool=build/release/client/cli/vrampool
  demo=build/release/deploy/demo/vrampool_demo
fi

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

if [[ -z $bundle ]]; then
  say "Packages"
  deploy/install_packages.sh --build
  echo "all there"

  say "Build (the first one takes minutes)"
  deploy/build.sh release -DVRAMPOOL_BUILD_TESTS=OFF \
    vrampoold vrampool_cli vrampool vrampool_rpc vrampool_demo
fi

say "Daemon"
gpus=0 why="as --host says"
((use_host)) || read -r gpus why < <(python3 deploy/count_gpus.py)
if ((gpus > 0)); then
  echo "Serving 512 MiB of a GPU."
  device=cuda:0 pool_size=512MiB limit=256MiB
else
  echo "Serving 256 MiB of the host's memory, not a GPU's: $why."
  # A device of its own name: another daemon may be serving "host" already.
  device=host:quickstart-$$ pool_size=256MiB limit=128MiB
fi
# What was set for another daemon would mislead the demo.
unset VRAMPOOL_DEVICE VRAMPOOL_KIND VRAMPOOL_SLAB_SIZE
export VRAMPOOL_DIR=$scratch/run VRAMPOOL_CLI=$vrampool
mkdir -m 0700 "$VRAMPOOL_DIR"
cat >"$scratch/vrampoold.textproto" <<CONFIG
device: "$device"
directory: "$VRAMPOOL_DIR"
pool_size: "$pool_size"
default_limit: "$limit"
admin_uids: $(id -u)
CONFIG

# Runs a command that the last check of this script can find again.
marked() { env "$marker" "$@"; }

coproc ready {
  marked python3 deploy/await_ready.py "$scratch/notify" 60
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
  ((gpus == 0)) ||
    echo "Without the GPU: deploy/quickstart.sh --host" >&2
  exit 1
fi
echo "vrampoold is ready (process $daemon_pid, sockets in $VRAMPOOL_DIR)"

# As `vrampool status` lists them: "CUDA_IPC, VMM_FD".
kinds=$(marked "$vrampool" status | sed -n 's/^slabs .*, kinds //p')
[[ -n $kinds ]] || die "vrampool status tells no kind of memory"
for kind in ${kinds//,/}; do
  say "Demo with memory of kind $kind"
  marked "$demo" --kind "$kind"
done

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

# next WHAT COMMAND...
next() {
  printf '  # %s\n' "$1"
  shift
  printf '  %s\n' "$@"
}
echo
echo "How to go on:"
device_flags="--pool-size 1GiB"
((gpus == 0)) || device_flags="--device cuda:0 --pool-size 8GiB"
next "a daemon of your own, and a question to it" \
  "export VRAMPOOL_DIR=/tmp/vrampool" \
  "$vrampoold $device_flags &" \
  "$vrampool status"
if [[ -z $bundle ]]; then
  next "install all of it" "sudo cmake --install build/release"
  next "run every test that needs no GPU" "tests/run.sh"
elif ((gpus > 0)); then
  next "run the tests that need a GPU (some need PyTorch, too)" \
    "VRAMPOOL_BUNDLE=$bundle tests/gpu/run.sh"
fi
if ((gpus > 0)); then
  next "read on: kinds of handle, PyTorch, containers" "less docs/gpu.md"
fi
