#!/usr/bin/env bash
# boot_test.sh BUILD_DIR - boots a small system with the installed unit under a
# real systemd, in a container of systemd-nspawn, and lets in_the_system.sh
# look at it from inside.
#
# As root. The base system is made once by debootstrap, from the distribution
# of this machine, and kept in $XDG_CACHE_HOME/vrampool.
set -euo pipefail

build=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
  echo "$*"
  exit 1
}
((EUID == 0)) || fail "must be root to boot a system"

base=$("$here/base_tree.sh" systemd)

# Inside the cache, on the same file system, so that copying may be cheap.
tree=$(mktemp -d "$(dirname "$base")/boot.XXXXXX")
machine=
cleanup() {
  local status=$?
  trap - EXIT
  # Everything inside ends with nspawn itself, the child of `timeout`.
  if [[ -n $machine ]]; then
    read -ra children <"/proc/$machine/task/$machine/children" || true
    for child in "${children[@]}"; do
      kill -KILL "$child" 2>/dev/null || true
    done
    wait "$machine" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$tree"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

cp -a --reflink=auto "$base/." "$tree"
DESTDIR=$tree cmake --install "$build" --prefix /usr >"$tree/install.log"
ldconfig -r "$tree"
install -m 0755 "$here/in_the_system.sh" "$tree/usr/bin/in_the_system.sh"
mkdir -p "$tree/etc/vrampool"
for instance in host-0 host-1; do
  cat >"$tree/etc/vrampool/$instance.textproto" <<CONFIG
device: "host:${instance#host-}"
pool_size: "64MiB"
admin_uids: 0
CONFIG
done

# Runs the checks when the system is up, and ends it whatever they said.
cat >"$tree/etc/systemd/system/check.service" <<'UNIT'
[Unit]
Description=Checks of the unit
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/usr/bin/in_the_system.sh
TimeoutStartSec=240
StandardOutput=file:/check.log
StandardError=inherit

[Install]
WantedBy=multi-user.target
UNIT
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
ln -s ../check.service "$tree/etc/systemd/system/multi-user.target.wants/"

timeout --kill-after=10 300 systemd-nspawn --quiet --boot --register=no \
  --keep-unit --private-network --directory="$tree" --machine="vrampool-$$" --link-journal=no \
  --console=pipe </dev/null >"$tree.console" 2>&1 &
machine=$!
status=0
wait "$machine" || status=$?
machine=

cat "$tree/check.log" 2>/dev/null || true
if [[ $(tail -n 1 "$tree/check.log" 2>/dev/null) != "all checks passed" ]]; then
  echo "--- console (nspawn ended with status $status)"
  tail -n 80 "$tree.console"
  rm -f "$tree.console"
  exit 1
fi
rm -f "$tree.console"
echo "base system: $base, repository: $root"
