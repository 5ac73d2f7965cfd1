#!/usr/bin/env bash
# Gathers what a GPU machine needs to run vrampool without any package of ours:
#
#   tests/gpu/bundle.sh [FOLDER]
#
# Builds the preset `bundle` here and fills FOLDER (default: build/gpu-bundle)
# with programs in bin/, libraries in lib/ (libvrampool, its RPC module, and the
# distribution's gRPC and what it needs), headers in include/, and in wheels/ RMM's
# Python with ours for it, for a machine whose Python is of the release
# VRAMPOOL_BUNDLE_PYTHON (default 3.12). Everything finds its libraries by its own
# place, so the folder can be moved, and a machine with a newer C library can run
# it. tests/gpu/run.sh runs the checks from there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
bundle=${1:-$root/build/gpu-bundle}
build=$root/build/bundle

programs=(vrampoold vrampool_cli vrampool_demo)
libraries=(vrampool vrampool_rpc vrampool_compare_rmm)
rmm_version=26.10.0
rmm=$root/build/rmm/$rmm_version/lib
mapfile -t checks <tests/gpu/programs.txt

deploy/install_packages.sh --build --test --bundle
deploy/build.sh bundle "${programs[@]}" "${libraries[@]}" "${checks[@]}"

rm -rf "$bundle"
mkdir -p "$bundle/bin" "$bundle/lib" "$bundle/include"
install -t "$bundle/bin" "$build/daemon/vrampoold" \
  "$build/client/cli/vrampool" "$build/deploy/demo/vrampool_demo"
for check in "${checks[@]}"; do
  install -t "$bundle/bin" "$(find "$build" -type f -name "$check" -perm -u+x)"
done
install -t "$bundle/lib" "$build/client/libvrampool-rpc.so"
install "$(readlink -f "$build/client/libvrampool.so")" \
  "$bundle/lib/libvrampool.so.0"
# To be compared with.
install -t "$bundle/lib" "$rmm"/lib*.so* \
  "$build/tests/bench/compare/libvrampool-compare-rmm.so"
ln -s libvrampool.so.0 "$bundle/lib/libvrampool.so"
cp -r client/include/vrampool "$bundle/include/"
tests/python-rmm/make_wheels.sh "$build/client" "$build/rmm-wheels"
tests/rmm/fetch.sh --wheels "$rmm_version" "${VRAMPOOL_BUNDLE_PYTHON:-3.12}" \
  "$bundle/wheels"
cp "$build/rmm-wheels/wheels"/*"+rmm${rmm_version%.*}."*.whl "$bundle/wheels/"

# Of the C and C++ run times every machine has its own, newer or as new.
own='lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|resolv)\.so|ld-linux'
ldd "$bundle"/bin/* "$bundle"/lib/*.so* |
  sed -n 's/^.* => \(\/[^ ]*\) (0x.*$/\1/p' | sort -u |
  grep -vE "/($own)" | grep -v -e "^$root/" -e "^$(realpath "$bundle")/" |
  while read -r library; do
    install "$library" "$bundle/lib/$(basename "$library")"
  done

strip --strip-unneeded "$bundle"/bin/* "$bundle"/lib/*.so.*
# shellcheck disable=SC2016  # $ORIGIN is the loader's.
find "$bundle/lib" -type f -exec patchelf --set-rpath '$ORIGIN' {} +
# shellcheck disable=SC2016
find "$bundle/bin" -type f -exec patchelf --set-rpath '$ORIGIN/../lib' {} +
du -sh "$bundle"
