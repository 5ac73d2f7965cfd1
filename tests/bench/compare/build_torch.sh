#!/usr/bin/env bash
# Builds the library with PyTorch's allocator for tests/bench/compare.sh, against
# the PyTorch that `python3` has:
#
#   tests/bench/compare/build_torch.sh FOLDER
#
# Needs g++ and the headers of the CUDA toolkit (CUDA_HOME, default
# /usr/local/cuda). vrampool_compare finds it when FOLDER is in LD_LIBRARY_PATH.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help || $# != 1 ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit $(($# == 1 ? 0 : 2))
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
mkdir -p "$1"
exec g++ -std=c++20 -O2 -fPIC -shared -I"$root" -isystem "$torch/include" \
  -isystem "${CUDA_HOME:-/usr/local/cuda}/include" \
  "$root/tests/bench/compare/torch_allocators.cc" \
  -o "$1/libvrampool-compare-torch.so" \
  -L"$torch/lib" -lc10_cuda -lc10 "-Wl,-rpath,$torch/lib"
