#!/usr/bin/env bash
# Fetches RMM from PyPI: headers, libraries and Python packages of the versions
# that tests and comparisons are built with, and CUDA's runtime.
#
#   tests/rmm/fetch.sh [FOLDER]
#   tests/rmm/fetch.sh --wheels VERSION PYTHON FOLDER
#
# FOLDER (default: build/rmm) gets one folder for each version, with include/
# (RMM's, CCCL's, the logger's, CUDA's), lib/ and python/ (rmm, librmm, the
# logger); python/ for what they have in common, CUDA's bindings and runtime;
# and venv/, with what wheels of ours are built with. NumPy, which RMM's Python
# wants, is not there. Quick when all is there already.
#
# The second form gets the wheels of one version for another machine, whose
# Python is of the release PYTHON ("3.12").
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# RMM and the logger that it wants. The first is the newest that takes a type by
# its concept, the second the last with a base class.
versions=("26.10.0 0.3.0" "26.4.0 0.2.3")
bindings=(cuda-bindings==12.9.10 cuda-pathfinder==1.9.1)
cuda_runtime=nvidia-cuda-runtime-cu12==12.9.79
builders=(cython==3.3.1 setuptools==84.2.1 wheel==0.48.0)

# wheels VERSION LOGGER - their names for pip.
wheels() { echo "rmm-cu12==$1" "librmm-cu12==$1" "rapids-logger==$2"; }

if [[ ${1:-} == --wheels ]]; then
  for line in "${versions[@]}"; do
    read -r version logger <<<"$line"
    if [[ $version == "$2" ]]; then
      read -ra wanted <<<"$(wheels "$version" "$logger")"
      exec "$root/build/rmm/venv/bin/pip" download --quiet --no-deps \
        --disable-pip-version-check --only-binary :all: --python-version "$3" \
        --dest "$4" "${wanted[@]}" "${bindings[@]}"
    fi
  done
  echo "fetch.sh: no version $2 of RMM here" >&2
  exit 1
fi
folder=${1:-$root/build/rmm}

# What is there is known by a copy of this script.
if cmp -s "${BASH_SOURCE[0]}" "$folder/fetched"; then
  exit 0
fi
rm -rf "$folder"
mkdir -p "$folder"
python3 -m venv "$folder/venv"
get() {
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    --no-deps --no-compile --only-binary :all: "$@"
}
get "${builders[@]}"
get --target "$folder/python" "${bindings[@]}" "$cuda_runtime"
cuda=$folder/python/nvidia/cuda_runtime
for line in "${versions[@]}"; do
  read -r version logger <<<"$line"
  python=$folder/$version/python
  read -ra wanted <<<"$(wheels "$version" "$logger")"
  get --target "$python" "${wanted[@]}"
  mkdir -p "$folder/$version/lib"
  cp -rl "$python/librmm/include" "$folder/$version/include"
  cp -rl "$python/rapids_logger/include/." "$cuda/include/." \
    "$folder/$version/include/"
  cp -l "$python"/*/lib64/lib*.so "$cuda/lib/libcudart.so.12" \
    "$folder/$version/lib/"
done
cp "${BASH_SOURCE[0]}" "$folder/fetched"
