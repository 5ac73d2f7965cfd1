#!/usr/bin/env bash
# Builds the wheels of client/python-rmm, one for each RMM that tests/rmm/fetch.sh
# has fetched, and installs each into a folder of its own:
#
#   tests/python-rmm/make_wheels.sh LIBRARIES FOLDER
#
# libvrampool.so is in the folder LIBRARIES. FOLDER/wheels gets the wheels,
# FOLDER/VERSION what is in them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rmm=$root/build/rmm
python=$rmm/venv/bin/python libraries=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder/wheels"
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT

# make VERSION - in a copy: setuptools writes beside what it builds.
make() {
  local made=$source/$1 wheel
  cp -r "$root/client/python-rmm" "$made"
  mkdir "$made/out"
  PYTHONPATH=$rmm/$1/python:$rmm/python \
    CPLUS_INCLUDE_PATH=$root/client/include LIBRARY_PATH=$libraries \
    CXXFLAGS="-O2 -g0" PKG_CONFIG_LIBDIR=/nonexistent \
    "$python" -m pip wheel --quiet --disable-pip-version-check \
    --no-build-isolation --no-deps --wheel-dir "$made/out" "$made"
  wheel=$(echo "$made"/out/*.whl)
  "$python" -m pip install --quiet --disable-pip-version-check --no-index \
    --no-deps --target "$folder/$1" "$wheel"
  mv "$wheel" "$folder/wheels"
}

makers=()
for version in "$rmm"/*/python/rmm; do
  make "$(basename "$(dirname "$(dirname "$version")")")" &
  makers+=("$!")
done
for maker in "${makers[@]}"; do wait "$maker"; done
