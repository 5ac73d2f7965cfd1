#!/usr/bin/env bash
# Lists the processes that carry an environment variable, as "PID command line".
#
#   deploy/leftovers.sh NAME=VALUE [--kill]
#
# A script that promises to leave nothing behind gives the variable to all that
# it starts, and asks here at its end. Exits 1 when there are any; --kill ends
# them, by process id.
set -euo pipefail

marker=${1:?usage: leftovers.sh NAME=VALUE [--kill]}
found=0
for environ in /proc/[0-9]*/environ; do
  pid=${environ#/proc/}
  pid=${pid%/environ}
  [[ $pid != "$$" && $pid != "$BASHPID" && $pid != "$PPID" ]] || continue
  # Processes come and go while this looks; one that has gone is none.
  grep -qzxF -- "$marker" "$environ" 2>/dev/null || continue
  echo "$pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" || true)"
  found=1
  if [[ ${2:-} == --kill ]]; then
    kill -KILL "$pid" 2>/dev/null || true
  fi
done
exit "$found"
