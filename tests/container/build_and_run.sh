#!/usr/bin/env bash
# Builds the container image from the Dockerfile and runs it, without a
# container engine: with buildah, from a base image of this machine's own
# distribution.
#
#   tests/container/build_and_run.sh
#
# As root; takes minutes (the whole build, inside the image) and therefore is no
# part of tests/run.sh. Leaves nothing behind but the cached base system.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 0
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "$*"
  exit 1
}
((EUID == 0)) || fail "must be root"
deploy/install_packages.sh --container

# An engine of its own in a folder of its own: nothing here touches images or
# containers that the machine has.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/vrampool-image.XXXXXX")
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
engine=(buildah --root "$scratch/storage" --runroot "$scratch/runroot")
marker="VRAMPOOL_IMAGE_TEST=$scratch"
cleanup() {
  local status=$?
  trap - EXIT
  deploy/leftovers.sh "$marker" --kill || true
  if [[ -n ${working:-} ]]; then
    "${engine[@]}" umount "$working" >/dev/null 2>&1 || true
  fi
  "${engine[@]}" rm --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$scratch"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

say "Base image"
base=$("$root/tests/systemd/base_tree.sh" image)
container=$("${engine[@]}" from scratch)
"${engine[@]}" add --quiet "$container" "$base" / >/dev/null
"${engine[@]}" commit --quiet --rm "$container" vrampool-base >/dev/null

say "Image"
started=$SECONDS
"${engine[@]}" bud --format docker --build-arg BASE=localhost/vrampool-base \
  --tag vrampool .
echo "built in $((SECONDS - started)) s"

say "What the image says about itself"
config=$("${engine[@]}" inspect --type image vrampool)
python3 - "$config" <<'CHECK'
import json, sys
config = json.loads(sys.argv[1])["Docker"]["config"]
health = config["Healthcheck"]["Test"]
for what, ok in [
        ("runs as a plain user", config["User"] == "vrampool"),
        ("stops by SIGTERM", config["StopSignal"] == "SIGTERM"),
        ("health by the command line", health == ["CMD", "vrampool", "health"]),
        ("starts the daemon", config["Entrypoint"] == ["vrampoold"])]:
    print(("ok      " if ok else "NOT SO  ") + what)
    if not ok:
        sys.exit(1)
CHECK

say "Run"
working=$("${engine[@]}" from localhost/vrampool)
tree=$("${engine[@]}" mount "$working")
for tool in g++ cmake protoc; do
  [[ ! -e $tree/usr/bin/$tool ]] || fail "the runtime stage contains $tool"
done
du -sh "$tree" | sed 's/\t.*/ unpacked/'
# Runs a command in the image as its user, with the image's command lines.
in_image() {
  env "$marker" buildah --root "$scratch/storage" --runroot "$scratch/runroot" \
    run --env "$marker" "$working" -- "$@"
}
[[ $(in_image id -un) == vrampool ]] || fail "not the image's user"
in_image vrampool --help >/dev/null
! in_image vrampool health 2>/dev/null || fail "healthy without a daemon"

mkdir "$scratch/notify"
chmod 0777 "$scratch/notify"
coproc ready { python3 deploy/await_ready.py "$scratch/notify/socket" 60; }
exec {ready_out}<&"${ready[0]}" {ready_in}>&"${ready[1]}"
read -r line <&"$ready_out"
[[ $line == bound ]] || fail "await_ready: $line"
chmod 0777 "$scratch/notify/socket"
env "$marker" buildah --root "$scratch/storage" --runroot "$scratch/runroot" \
  run --volume "$scratch/notify:/notify" --env "$marker" \
  --env NOTIFY_SOCKET=/notify/socket "$working" -- \
  vrampoold --config /etc/vrampool/vrampoold.textproto \
  --device "host:image-$$" \
  >"$scratch/daemon.log" 2>&1 &
runner=$!
echo "$runner" >&"$ready_in"
read -r line <&"$ready_out" || line="no answer"
[[ $line == ready ]] || { cat "$scratch/daemon.log"; fail "$line"; }
echo "the daemon is ready"
in_image vrampool health
in_image vrampool status

daemon=$(for each in /proc/[0-9]*; do
  [[ $(readlink "$each/exe" 2>/dev/null) != */usr/bin/vrampoold ]] ||
    ! grep -qzxF "$marker" "$each/environ" 2>/dev/null || echo "${each#/proc/}"
done)
[[ $daemon =~ ^[0-9]+$ ]] || fail "one daemon expected, found: ${daemon:-none}"
[[ $(stat -c %u "/proc/$daemon") != 0 ]] || fail "the daemon runs as root"
kill -TERM "$daemon"
timeout 20 tail --pid="$runner" -f /dev/null || fail "does not stop"
wait "$runner" || { cat "$scratch/daemon.log"; fail "stopped with status $?"; }
deploy/leftovers.sh "$marker" || fail "processes were left behind"
echo "clean stop"
echo "the image works"
