#!/usr/bin/env bash
# Installs what vrampool needs from the distribution's own packages.
#
#   deploy/install_packages.sh [--build] [--runtime] [--test] [--container]
#                              [--bundle]
#
#   --build      compile and install (the default)
#   --runtime    run the installed daemon, CLI and libraries, nothing else
#   --test       compile and run the tests, linters and sanitizers
#   --container  build the container image with buildah
#   --bundle     make a folder that runs on other machines (tests/gpu)
#   --list       print the packages instead of installing them
#
# Debian 12 and Ubuntu 24.04, as root or through sudo. Quick and silent when
# everything is there already.
set -euo pipefail

die() {
  echo "install_packages.sh: $*" >&2
  exit 1
}

want_build=0 want_runtime=0 want_test=0 want_container=0 want_bundle=0
list_only=0
for arg in "$@"; do
  case "$arg" in
    --build) want_build=1 ;;
    --runtime) want_runtime=1 ;;
    --test) want_test=1 ;;
    --container) want_container=1 ;;
    --bundle) want_bundle=1 ;;
    --list) list_only=1 ;;
    -h | --help)
      sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *) die "unknown option '$arg' (try --help)" ;;
  esac
done
if ((want_build + want_runtime + want_test + want_container + want_bundle == 0))
then
  want_build=1
fi

# What both distributions call by the same name.
build=(build-essential cmake ninja-build pkg-config python3 git
  libgrpc++-dev libgrpc-dev libprotobuf-dev protobuf-compiler
  protobuf-compiler-grpc libabsl-dev libspdlog-dev libcli11-dev
  libsystemd-dev prometheus-cpp-dev)
check=(ccache libgtest-dev libgmock-dev libbenchmark-dev clang clang-format
  clang-tidy clang-tools llvm shellcheck python3-dev python3-venv debootstrap
  systemd-container libmimalloc-dev)
container=(buildah debootstrap)
bundle=(patchelf)

os_id=unknown os_version=unknown os_name="this system"
if [[ -r /etc/os-release ]]; then
  # shellcheck source=/dev/null
  os_id=$(. /etc/os-release && echo "${ID:-unknown}")
  # shellcheck source=/dev/null
  os_version=$(. /etc/os-release && echo "${VERSION_ID:-unknown}")
  # shellcheck source=/dev/null
  os_name=$(. /etc/os-release && echo "${PRETTY_NAME:-this system}")
fi

# Shared libraries carry their version in the package's name; so does the
# compiler's sanitizer and fuzzer runtime.
case "$os_id-$os_version" in
  debian-12)
    runtime=(libgrpc++1.51 libprotobuf32 libabsl20220623 libspdlog1.10
      libsystemd0 libprometheus-cpp-pull1.0)
    check+=(libclang-rt-14-dev python3-torch)
    ;;
  ubuntu-24.04)
    runtime=(libgrpc++1.51t64 libprotobuf32t64 libabsl20220623t64
      libspdlog1.12 libsystemd0)
    # Brings the libraries of whatever version there is.
    runtime+=(prometheus-cpp-dev)
    check+=(libclang-rt-18-dev)
    # Where the lists know it; tests/python/make_venv.sh says if it is missing.
    if apt-cache show python3-torch >/dev/null 2>&1; then
      check+=(python3-torch)
    fi
    ;;
  *)
    runtime=(libgrpc++ libprotobuf libabsl libspdlog libsystemd0
      libprometheus-cpp-pull)
    check+=(libclang-rt-dev)
    ;;
esac

wanted=()
((want_build || want_test)) && wanted+=("${build[@]}")
((want_runtime)) && wanted+=("${runtime[@]}")
((want_test)) && wanted+=("${check[@]}")
((want_container)) && wanted+=("${container[@]}")
((want_bundle)) && wanted+=("${bundle[@]}")

if ((list_only)); then
  printf '%s\n' "${wanted[@]}" | sort -u
  exit 0
fi

case "$os_id-$os_version" in
  debian-12 | ubuntu-24.04) ;;
  *)
    die "$os_name is not a system this script knows (Debian 12, Ubuntu 24.04).
Install what these packages hold, by whatever names they have here, and go on
with cmake (README.md shows how):
  ${wanted[*]}"
    ;;
esac

# The packages of `wanted` that dpkg does not list as installed. One dpkg call:
# this is all that a second run costs.
missing() {
  local installed package
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' \
    "${wanted[@]}" 2>/dev/null | sed -n 's/ installed$//p') || true
  for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || echo "$package"
  done | sort -u
}

mapfile -t absent < <(missing)
if ((${#absent[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null ||
    die "not root and no sudo here; as root, run: apt-get install ${absent[*]}"
  as_root=(sudo)
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get \
    -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -q "$@"
}

echo "installing: ${absent[*]}"
# The lists may be absent or name versions that the mirror has replaced, so a
# first failure is answered with one update. Whether the lists know all of it
# is asked by a dry run, which downloads nothing.
if ! apt install -y --no-install-recommends --simulate "${absent[@]}" \
  >/dev/null 2>&1 ||
  ! apt install -y --no-install-recommends "${absent[@]}"; then
  apt update ||
    die "apt-get update failed; is a package mirror reachable from here?"
  apt install -y --no-install-recommends "${absent[@]}" ||
    die "could not install: ${absent[*]}"
fi

mapfile -t absent < <(missing)
((${#absent[@]} == 0)) ||
  die "apt-get reported success but these are not installed: ${absent[*]}"
