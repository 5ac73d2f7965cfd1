#!/usr/bin/env bash
# base_tree.sh systemd|image - prints the folder of a small system of this
# machine's distribution, which it makes by debootstrap when it is not there
# yet: `systemd` boots and has the daemon's libraries, `image` is bare and has
# the package lists' sources, as a container's base image has.
set -euo pipefail

kind=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vrampool/trees

# shellcheck source=/dev/null
. /etc/os-release
components=main
case $ID in
  debian) mirror=http://deb.debian.org/debian ;;
  ubuntu)
    mirror=http://archive.ubuntu.com/ubuntu
    components=main,universe
    ;;
  *)
    echo "no mirror known for $ID" >&2
    exit 1
    ;;
esac
packages=ca-certificates
if [[ $kind == systemd ]]; then
  packages=systemd,systemd-sysv,dbus
  packages+=,$("$root/deploy/install_packages.sh" --list --runtime | paste -sd,)
fi

key=$(sha256sum <<<"$mirror $VERSION_CODENAME $components $packages" |
  cut -c 1-12)
tree=$cache/$kind-$VERSION_CODENAME-$key
mkdir -p "$cache"
# One maker at a time; the others wait and find it made.
exec 9>"$cache/lock"
flock 9
if [[ ! -d $tree ]]; then
  # The names of other package sets are of no use any more.
  rm -rf --one-file-system "$cache/$kind-"*
  timeout 500 debootstrap --variant=minbase --components="$components" \
    --include="$packages" "$VERSION_CODENAME" "$tree.part" "$mirror" \
    >"$cache/$kind.log" 2>&1 || {
    tail -n 30 "$cache/$kind.log" >&2
    rm -rf --one-file-system "$tree.part"
    exit 1
  }
  rm -rf "$tree.part/var/cache/apt/archives/"*.deb
  mv "$tree.part" "$tree"
fi
echo "$tree"
