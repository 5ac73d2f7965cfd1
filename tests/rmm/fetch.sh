#!/usr/bin/env bash
# Fetches RMM from PyPI: headers and libraries of the versions that tests and
# comparisons are built with, and the headers of CUDA's runtime.
#
#   tests/rmm/fetch.sh [FOLDER]
#
# FOLDER (default: build/rmm) gets one folder for each version, with include/
# (RMM's, CCCL's, the logger's, CUDA's) and lib/. Quick when they are there.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/build/rmm}

# RMM and the logger that it wants. The first is the newest that takes a type by
# its concept, the second the last with a base class.
versions=("26.10.0 0.3.0" "26.4.0 0.2.3")
cuda_runtime=nvidia-cuda-runtime-cu12==12.9.79

# What is there is known by a copy of this script.
if cmp -s "${BASH_SOURCE[0]}" "$folder/fetched"; then
  exit 0
fi
rm -rf "$folder"
mkdir -p "$folder"
python3 -m venv "$folder/venv"
get() {
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    --no-deps --no-compile --only-binary :all: --target "$@"
}
get "$folder/cuda" "$cuda_runtime"
for line in "${versions[@]}"; do
  read -r version logger <<<"$line"
  wheels=$folder/wheels-$version
  get "$wheels" "librmm-cu12==$version" "rapids-logger==$logger"
  mkdir -p "$folder/$version/lib"
  mv "$wheels/librmm/include" "$folder/$version/include"
  cp -r "$wheels/rapids_logger/include/." "$folder/$version/include/"
  cp -r "$folder/cuda/nvidia/cuda_runtime/include/." "$folder/$version/include/"
  mv "$wheels"/*/lib64/lib*.so "$folder/$version/lib/"
  cp "$folder/cuda/nvidia/cuda_runtime/lib/libcudart.so.12" \
    "$folder/$version/lib/"
  rm -rf "$wheels"
done
rm -rf "$folder/cuda" "$folder/venv"
cp "${BASH_SOURCE[0]}" "$folder/fetched"
