#!/usr/bin/env bash
# Runs a test with the interpreter that has a framework, as make_venv.sh noted.
#
#   run_with.sh FRAMEWORKS NAME SCRIPT [ARGUMENT...]
#
# Where the system cannot have the framework, it says so and why; on Debian 12,
# which has all, that is a failure.
set -euo pipefail

read -r _ interpreter reason < <(grep "^$2 " "$1")
if [[ $interpreter == - ]]; then
  echo "not tested here: $2: $reason"
  if grep -qx 'ID=debian' /etc/os-release; then
    exit 1
  fi
  exit 0
fi
exec "$interpreter" "${@:3}"
