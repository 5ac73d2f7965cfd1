#!/usr/bin/env bash
# Makes .venv, the Python environment of the tests: what requirements.txt beside
# this script lists. Quick when that is there already.
#
#   tests/python/make_venv.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/../../.venv
wanted=$here/requirements.txt

# What is installed is known by a copy of the list that was installed last.
if cmp -s "$wanted" "$venv/installed.txt"; then
  exit 0
fi
echo "installing Python packages (a minute or two)"
python3 -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
  --requirement "$wanted"
cp "$wanted" "$venv/installed.txt"
