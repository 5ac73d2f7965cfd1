#!/usr/bin/env bash
# Makes .venv, the Python environments of the tests: what requirements.txt beside
# this script lists, and .venv/mxnet for MXNet, which wants a NumPy of its own
# (mxnet.txt). PyTorch is the distribution's (deploy/install_packages.sh --test):
# the wheel for Linux brings gigabytes of CUDA. Quick when all is there already.
#
#   tests/python/make_venv.sh
#
# Which interpreter has which framework, and why one has none, is then in
# .venv/frameworks: lines of "NAME PYTHON" or "NAME - REASON". Debian 12 has all;
# Ubuntu 24.04 cannot have MXNet.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/../../.venv
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
cat "$here/requirements.txt" "$here/mxnet.txt" >"$wanted"

# make PYTHON FOLDER REQUIREMENTS
make() {
  "$1" -m venv "$2"
  "$2/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    --requirement "$3"
}

# A Python before 3.12, for which there is a NumPy before 1.24; or nothing.
old_python() {
  local python
  for python in python3 /usr/bin/python3 python3.11 python3.10 python3.9; do
    if "$python" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info < (3, 12))' \
      2>/dev/null; then
      echo "$python"
      return
    fi
  done
}

# What is installed is known by a copy of the lists that were installed last.
if ! cmp -s "$wanted" "$venv/installed.txt"; then
  echo "installing Python packages (two minutes or three)"
  python3 -m venv --clear "$venv"
  python=$(old_python) other=""
  if [[ -n $python ]]; then
    make "$python" "$venv/mxnet" "$here/mxnet.txt" &
    other=$!
  fi
  make python3 "$venv" "$here/requirements.txt"
  [[ -z $other ]] || wait "$other"
  cp "$wanted" "$venv/installed.txt"
fi

venv=$(cd "$venv" && pwd)
{
  for framework in numpy jax tensorflow pyarrow; do
    echo "$framework $venv/bin/python"
  done
  if [[ -x $venv/mxnet/bin/python ]]; then
    echo "mxnet $venv/mxnet/bin/python"
  else
    echo "mxnet - MXNet 1.9.1 needs Python before 3.12, and none is installed"
  fi
  if /usr/bin/python3 -c \
    'import importlib.util as u; assert u.find_spec("torch")' 2>/dev/null; then
    echo "torch /usr/bin/python3"
  else
    echo "torch - the package python3-torch is not installed for /usr/bin/python3"
  fi
} >"$venv/frameworks"
sed -n 's/^\([a-z]*\) - /not tested here: \1: /p' "$venv/frameworks"
