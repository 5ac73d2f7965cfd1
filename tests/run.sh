#!/usr/bin/env bash
# Runs every test that needs no GPU, from a fresh clone on, in one command:
#
#   tests/run.sh [CTEST_OPTION...]      for example: tests/run.sh -R ledger
#
# Installs what is missing, builds the preset `dev`, and runs ctest: whatever
# its language, each test is registered there. The last line is
# "N passed, N failed"; the status is zero when none failed. Leaves no process
# behind, and fails when a test does.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\n== %s\n' "$*"; }

marker="VRAMPOOL_TEST_RUN=$$-$(date +%s)"
leftovers=$(mktemp)
cleanup() {
  local status=$?
  trap - EXIT INT TERM
  deploy/leftovers.sh "$marker" --kill >"$leftovers" || true
  rm -f "$leftovers"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "Packages"
deploy/install_packages.sh --build --test
echo "all there"

say "Python packages"
tests/python/make_venv.sh
echo "all there"

say "Build"
deploy/build.sh dev

say "Tests"
exclude=gpu
if ((EUID != 0)); then
  exclude='gpu|root'
  echo "not root: tests that boot a system (label root) are left out"
fi
report=$root/build/dev/tests.xml
rm -f "$report"
env "$marker" ctest --test-dir build/dev --output-on-failure \
  --label-exclude "$exclude" --parallel "$(nproc)" \
  --output-junit "$report" "$@" || true

passed=0 failed=0
if [[ -f $report ]]; then
  read -r passed failed < <(python3 tests/junit_count.py "$report")
fi
if ! deploy/leftovers.sh "$marker" --kill >"$leftovers"; then
  echo "processes that the tests left behind (ended now):"
  cat "$leftovers"
  failed=$((failed + 1))
fi
if ((passed + failed == 0)); then
  echo "no test ran"
  failed=1
fi
if ((failed > 0)) && [[ -f $report ]]; then
  echo "failed:"
  python3 tests/junit_count.py --names "$report" | sed 's/^/  /'
fi
echo "$passed passed, $failed failed"
((failed == 0))
