#!/usr/bin/env bash
# unit_test.sh PREFIX - the installed unit passes systemd's own checks.
set -euo pipefail

installed=$1/lib/systemd/system/vrampoold@.service
most=2.5

fail() {
  echo "$*"
  exit 1
}

# The tree has been moved since its installation, and the daemon must be where
# the unit says.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unit=$scratch/vrampoold@.service
grep -q '^ExecStart=/.*/bin/vrampoold --config /etc/' "$installed" ||
  fail "no ExecStart as expected in $installed"
sed "s,^ExecStart=.*/bin/vrampoold,ExecStart=$(realpath "$1")/bin/vrampoold," \
  "$installed" >"$unit"

# Any warning counts, also one that leaves the status at zero.
said=$(systemd-analyze verify --man=no "$unit" 2>&1) ||
  fail "systemd-analyze verify: $said"
[[ -z $said ]] || fail "systemd-analyze verify: $said"

security=$(systemd-analyze security --offline=true --no-pager "$unit")
score=$(sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p' \
  <<<"$security")
[[ -n $score ]] || fail "no score in: $security"
echo "exposure $score, at most $most allowed"
awk -v score="$score" -v most="$most" 'BEGIN { exit !(score <= most) }' ||
  fail "$security"

# What must stay reachable for CUDA and for telling peers apart: each of these
# would raise the score and break the daemon.
for forbidden in PrivateDevices=yes PrivateNetwork=yes PrivateUsers=yes \
  PrivateIPC=yes ProtectProc=invisible ProcSubset=pid \
  MemoryDenyWriteExecute=yes; do
  ! grep -qi "^$forbidden" "$unit" || fail "the unit sets $forbidden"
done
grep -q '^DeviceAllow=char-nvidia' "$unit" || fail "no GPU is allowed"
