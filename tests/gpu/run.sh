#!/usr/bin/env bash
# The checks that need a GPU, on a machine that has one:
#
#   tests/gpu/run.sh [STEP...]
#
# Steps: driver conformance client demo torch kill reclaim handoff figures; and, only
# when they are named, compare (tests/bench/compare.sh with PyTorch's allocator and
# logs of two programs, ten minutes), views (the Python package with PyTorch),
# frameworks (the same with PyTorch, JAX, CuPy and Numba, which all have to be
# there), allocators (the pool as the allocator of CuPy and Numba), torch_memory (of
# PyTorch), rmm (RMM's Python, which the folder brings, with PyTorch, CuPy and Numba),
# cudf (cuDF with CuPy and pandas; VRAMPOOL_CUDF is the folder where it, its RMM and
# vrampool-rmm for that RMM are installed),
# numba (numba-cuda's own tests, with its memory manager and with ours, which needs
# pytest-xdist; VRAMPOOL_KIND for one kind of handle only), exchange
# (tests/bench/exchange.sh with PyTorch, CuPy and Numba), pass_on (a tensor to another
# process and back, against a bare interprocess event) and two_gpus, which needs two
# GPUs.
# Needs the folder that tests/gpu/bundle.sh makes (VRAMPOOL_BUNDLE, default
# build/gpu-bundle) and, for the steps torch, kill, handoff, figures and two_gpus,
# Python with PyTorch and pytest. Nothing else may use the GPU meanwhile. Logs and
# figures.json go to $OUT (default build/gpu-results); the last line is "N passed,
# N failed" over all steps.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export VRAMPOOL_BUNDLE=${VRAMPOOL_BUNDLE:-$root/build/gpu-bundle}
export OUT=${OUT:-$root/build/gpu-results}
mkdir -p "$OUT"
cd "$root"
bin=$VRAMPOOL_BUNDLE/bin

run_driver() { "$bin/driver_behaviour_test"; }
run_conformance() { "$bin/device_conformance_test"; }
run_demo() { tests/gpu/quickstart_test.sh "$VRAMPOOL_BUNDLE"; }
run_client() {
  "$bin/client_gpu_test"
  "$bin/gpu_order_test"
  local test
  for test in client_stream_test client_canary_test producer_death_test; do
    beside pool_size=128MiB default_limit=16MiB -- "$bin/$test"
  done
}
run_two_gpus() {
  local kind order test
  for kind in CUDA_IPC VMM_FD; do
    for order in 0,1 1,0; do
      for test in "$bin/two_gpus_test" "python3 -B tests/gpu/two_gpus.py"; do
        # shellcheck disable=SC2086  # A program and its arguments.
        beside device=cuda:0 device=cuda:1 pool_size=1GiB -- \
          env "CUDA_VISIBLE_DEVICES=$order" "VRAMPOOL_KIND=$kind" $test
      done
    done
  done
}
served=("$bin/vrampoold" "$bin/vrampool"
  "$VRAMPOOL_BUNDLE/lib/libvrampool.so.0")
# The tests of the host's memory, but for those that fork: CUDA cannot.
run_views() {
  local kind
  export VRAMPOOL_TEST_DEVICE=cuda:0
  for kind in CUDA_IPC VMM_FD; do
    VRAMPOOL_KIND=$kind python3 -B tests/python/torch_test.py "${served[@]}"
    VRAMPOOL_KIND=$kind python3 -B tests/python/torch_messages_test.py \
      "${served[@]}" -k round -k producer -k sends_on -k lives -k survive \
      -k always -k read_once -k spawned
  done
}
# Every test of these for a kind, though one of them has failed.
for_kind() {
  local kind=$1 test status=0
  shift
  for test in "$@"; do
    echo "=== $kind: $test"
    VRAMPOOL_TEST_DEVICE=cuda:0 VRAMPOOL_KIND=$kind python3 -B \
      "tests/python/${test}_test.py" "${served[@]}" || status=1
  done
  return "$status"
}
run_allocators() {
  local kind status=0
  for kind in CUDA_IPC VMM_FD; do
    for_kind "$kind" allocators cupy_memory cupy_lifetime numba_ipc || status=1
  done
  return "$status"
}
run_torch_memory() {
  local kind status=0
  for kind in CUDA_IPC VMM_FD; do
    for_kind "$kind" torch_memory torch_pool torch_process torch_lines ||
      status=1
  done
  for_kind VMM_FD torch_reclaim || status=1  # The kind that goes back.
  return "$status"
}
# Every test, too.
run_frameworks() {
  local kind whole status=0 python
  python=$(command -v python3)
  printf "%s $python\n" torch jax cupy numba >"$OUT/frameworks"
  export VRAMPOOL_TEST_DEVICE=cuda:0
  for kind in CUDA_IPC VMM_FD; do
    echo "=== $kind"
    for_kind "$kind" table_gpu || status=1
    VRAMPOOL_KIND=$kind python3 -B tests/python/matrix_test.py \
      "${served[@]}" "$OUT/frameworks" MatrixTest || status=1
    for whole in 0 1; do
      VRAMPOOL_KIND=$kind VRAMPOOL_TEST_WHOLE=$whole python3 -B \
        tests/python/torch_segments_test.py "${served[@]}" || status=1
    done
    VRAMPOOL_KIND=$kind python3 -B tests/python/docs_test.py \
      "${served[@]}" <(grep -e cupy -e numba "$OUT/frameworks") || status=1
  done
  return "$status"
}
# Every test, too. RMM is found by its own tests, and by the interpreter that
# stands for it, alone: its CUDA bindings are not everybody's.
run_rmm() {
  local kind status=0 places=$OUT/rmm python
  python=$(command -v python3)
  rm -rf "$places"
  python3 -m pip install --quiet --no-index --no-deps --target "$places" \
    "$VRAMPOOL_BUNDLE"/wheels/*.whl
  cat >"$OUT/rmm_python" <<END
#!/bin/sh
export PYTHONPATH="\$PYTHONPATH:$places"
exec $python "\$@"
END
  chmod +x "$OUT/rmm_python"
  printf '%s\n' "torch $python" "cupy $python" "numba $python" \
    "rmm $OUT/rmm_python" >"$OUT/with_rmm"
  export VRAMPOOL_TEST_DEVICE=cuda:0
  for kind in CUDA_IPC VMM_FD; do
    echo "=== $kind"
    VRAMPOOL_KIND=$kind python3 -B tests/python-rmm/gpu_test.py \
      "${served[@]}" "$places" || status=1
    VRAMPOOL_KIND=$kind python3 -B tests/python/matrix_test.py \
      "${served[@]}" "$OUT/with_rmm" MatrixTest || status=1
    VRAMPOOL_KIND=$kind python3 -B tests/python/docs_test.py \
      "${served[@]}" <(grep '^rmm ' "$OUT/with_rmm") || status=1
  done
  return "$status"
}
# As run_rmm, with the cuDF that is in a folder of its own.
run_cudf() {
  local kind status=0 start=$OUT/cudf_start python
  python=$(command -v python3)
  mkdir -p "$start"
  # numba-cuda 0.30, which cuDF imports, wants what NumPy 2.5 has no more.
  cat >"$start/sitecustomize.py" <<END
import numpy
if not hasattr(numpy, "row_stack"):
    numpy.row_stack = numpy.vstack
END
  local places=${VRAMPOOL_CUDF:?is to name the folder with cuDF}:$start
  cat >"$OUT/cudf_python" <<END
#!/bin/sh
export PYTHONPATH="\$PYTHONPATH:$places"
exec $python "\$@"
END
  chmod +x "$OUT/cudf_python"
  echo "cudf $OUT/cudf_python" >"$OUT/with_cudf"
  export VRAMPOOL_TEST_DEVICE=cuda:0
  for kind in CUDA_IPC VMM_FD; do
    echo "=== $kind"
    VRAMPOOL_KIND=$kind python3 -B tests/gpu/cudf_test.py \
      "${served[@]}" "$places" || status=1
    VRAMPOOL_KIND=$kind python3 -B tests/python/docs_test.py \
      "${served[@]}" "$OUT/with_cudf" || status=1
  done
  return "$status"
}
run_numba() {
  # shellcheck disable=SC2086  # None or one.
  python3 -B tests/gpu/numba_suite.py "$bin/vrampoold" \
    "$VRAMPOOL_BUNDLE/lib/libvrampool.so.0" ${VRAMPOOL_KIND:-}
}
run_torch() { pytest_of torch_test.py; }
run_kill() { pytest_of kill_test.py; }
# As much as leaves room for what the GPU has to have besides.
run_reclaim() {
  local free
  free=$(nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits -i 0)
  VRAMPOOL_TEST_RECLAIM=$(((free - 4096) / 1024 * 1024 * 1024 * 1024)) \
    python3 -B tests/proof/reclaim_test.py "${served[@]}" \
    "$VRAMPOOL_BUNDLE/lib/libvrampool-rpc.so" - -
}
run_handoff() { pytest_of handoff_test.py; }
run_figures() { pytest_of figures_test.py; }
beside() { python3 -B tests/cuda/with_daemon.py "$bin/vrampoold" "$@"; }
run_pass_on() {
  local kind bytes
  for kind in CUDA_IPC VMM_FD; do
    for bytes in 4096 1048576 67108864; do
      echo "$kind, $bytes bytes"
      VRAMPOOL_KIND=$kind beside pool_size=1GiB default_limit=1GiB -- \
        timeout 60 "$bin/gpu_pass_on" "$bytes" 200
    done
  done
}
run_compare() {
  local made
  made=$(mktemp -d)
  tests/bench/compare/build_torch.sh "$made" || echo "no library of PyTorch's"
  python3 -B tests/gpu/record_log.py 50 "$made/training.csv"
  python3 -B tests/gpu/record_cupy_log.py 100 "$made/tables.csv"
  LD_LIBRARY_PATH=$made tests/bench/compare.sh --gpu --rounds "${ROUNDS:-3}" \
    --out "$OUT/compare.json" --log "$made/training.csv" --log "$made/tables.csv"
  cp "$made"/*.csv "$OUT"  # To be replayed elsewhere.
  rm -r "$made"
}
run_exchange() {
  VRAMPOOL_FRAMEWORKS=$OUT/exchange_frameworks
  export VRAMPOOL_FRAMEWORKS
  printf "%s $(command -v python3)\n" torch cupy numba >"$VRAMPOOL_FRAMEWORKS"
  tests/bench/exchange.sh --gpu --rounds "${ROUNDS:-3}" \
    --out "$OUT/exchange.json"
  python3 -B tests/bench/exchange_chart.py "$OUT/exchange.json" \
    "$OUT/exchange.svg"
}
pytest_of() {
  PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -q -x -p no:cacheprovider \
    "tests/gpu/$1"
}

steps=("$@")
((${#steps[@]} > 0)) ||
  steps=(driver conformance client demo torch kill reclaim handoff figures)
passed=0 failed=0
for step in "${steps[@]}"; do
  declare -F "run_$step" >/dev/null || {
    echo "no step '$step'" >&2
    exit 2
  }
  started=$SECONDS
  set +e
  (set -e; "run_$step") >"$OUT/$step.log" 2>&1 </dev/null
  status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1)) word=passed
  else
    failed=$((failed + 1)) word=FAILED
  fi
  printf '%-12s %-7s %4d s\n' "$step" "$word" $((SECONDS - started))
  ((status == 0)) || tail -n 40 "$OUT/$step.log" | sed 's/^/    /'
done
echo "$passed passed, $failed failed"
((failed == 0))
