#!/usr/bin/env bash
# Runs inside the booted system: the unit's life from first start to last stop.
# Each check prints a line; the last one is "all checks passed".
set -euo pipefail

unit=vrampoold@host-0.service

fail() {
  echo "FAILED: $*"
  systemctl status --no-pager --full "$unit" 'vrampoold@*' || true
  journalctl --no-pager -n 60 -u 'vrampoold@*' || true
  exit 1
}

property() { systemctl show --value -p "$1" "${2:-$unit}"; }

# now, since CURSOR - a place in the journal, and what came after it.
now() {
  journalctl --sync
  journalctl -n 0 --show-cursor -q | sed -n 's/^-- cursor: //p'
}
since() {
  journalctl --sync
  journalctl -q -o cat --no-pager --after-cursor="$1"
}

# restarted_after COMMAND... - runs it and waits until the manager has brought
# the daemon back: the journal says so, at the latest in 30 seconds.
restarted_after() {
  local cursor before watcher
  before=$(property NRestarts)
  cursor=$(now)
  "$@"
  coproc journal {
    exec journalctl --follow --output=cat --after-cursor="$cursor" _PID=1
  }
  watcher=$!
  exec {journal_out}<&"${journal[0]}"
  while true; do
    read -r -t 30 line <&"$journal_out" || fail "no restart after: $*"
    [[ $line != "Started $unit"* ]] || break
  done
  exec {journal_out}<&-
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  [[ $(property ActiveState) == active ]] || fail "not active after: $*"
  (($(property NRestarts) == before + 1)) || fail "restarts miscounted"
}

systemd-sysusers
id vrampool >/dev/null || fail "the user vrampool was not made"

# Type=notify: start returns when READY=1 has come, and only then.
systemctl start "$unit" || fail "does not start"
[[ $(property ActiveState) == active ]] || fail "started but not active"
[[ $(property Type) == notify ]] || fail "not a notifying service"
echo "READY seen"

# `health` of the command line, which every user may ask.
vrampool health || fail "health says no"
runuser -u nobody -- vrampool health || fail "a plain user cannot ask for health"
vrampool status || fail "status fails"
pid=$(property MainPID)
[[ $(stat -c %U "/proc/$pid") == vrampool ]] || fail "runs as another user"
grep -q '^CapEff:.*0000000000000000$' "/proc/$pid/status" ||
  fail "has capabilities"
grep -q '^Seccomp:.*2$' "/proc/$pid/status" || fail "has no system call filter"
echo "serves, unprivileged"

restarted_after kill -KILL "$pid"
[[ $(property MainPID) != "$pid" ]] || fail "the same process after SIGKILL"
vrampool health || fail "health says no after a restart"
echo "SIGKILL: restarted by itself, serves again"

# A daemon that hangs stops feeding the watchdog; the manager replaces it.
mkdir -p "/run/systemd/system/$unit.d"
printf '[Service]\nWatchdogSec=2\n' >"/run/systemd/system/$unit.d/quick.conf"
systemctl daemon-reload
systemctl restart "$unit" || fail "does not restart"
fed=$(property WatchdogTimestampMonotonic)
restarted_after kill -STOP "$(property MainPID)"
[[ $fed != 0 ]] || fail "the watchdog was never fed"
journalctl --sync
journalctl -q -o cat -u "$unit" | grep -qi 'watchdog timeout' ||
  fail "not the watchdog's doing"
echo "hangs: replaced by the watchdog"

# A second instance shares the folder, and stopping it leaves the first alone.
systemctl start vrampoold@host-1.service || fail "no second instance"
vrampool health --device host-1 || fail "the second instance does not serve"
systemctl stop vrampoold@host-1.service
[[ $(property ActiveState vrampoold@host-1.service) == inactive ]] ||
  fail "the second instance did not stop cleanly"
vrampool health || fail "stopping one instance hurt the other"
echo "two instances share /run/vrampool"

cursor=$(now)
systemctl stop "$unit"
[[ $(property ActiveState) == inactive ]] || fail "not stopped"
since "$cursor" | grep -q 'Deactivated successfully' ||
  fail "stopped with $(property Result)"
! since "$cursor" | grep -qE 'State .*timed out|Main process exited' ||
  fail "did not stop by itself"
[[ -d /run/vrampool ]] || fail "the folder has gone"
[[ -z $(find /run/vrampool -type s) ]] || fail "sockets were left behind"
echo "clean stop"
echo "all checks passed"
