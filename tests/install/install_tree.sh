#!/usr/bin/env bash
# install_tree.sh BUILD_DIR PREFIX - installs there, and checks what arrived.
set -euo pipefail

build=$1 prefix=$2

# Installed elsewhere and moved: nothing may remember where it was.
rm -rf "$prefix" "$prefix.first"
cmake --install "$build" --prefix "$prefix.first" >"$build/install.log"
mv "$prefix.first" "$prefix"

problems=0
complain() {
  echo "$*"
  problems=$((problems + 1))
}

for name in bin/vrampoold bin/vrampool 'lib*/libvrampool.so.0' \
  'lib*/libvrampool.so' 'lib*/libvrampool-rpc.so' \
  include/vrampool/vrampool.h include/vrampool/vrampool.hpp \
  include/vrampool/default_stream.hpp \
  'lib*/cmake/vrampool/vrampoolConfig.cmake' 'lib*/pkgconfig/vrampool.pc' \
  lib/systemd/system/vrampoold@.service lib/sysusers.d/vrampool.conf \
  share/doc/vrampool/LICENSE share/doc/vrampool/examples/host.textproto; do
  compgen -G "$prefix/$name" >/dev/null ||
    compgen -G "$prefix/${name/lib\*/lib/*}" >/dev/null ||
    complain "not installed: $name"
done

# Texts may name the prefix of the installation only in the unit, which has to.
while read -r file; do
  complain "$file names a folder of the build"
done < <(grep -rlIF -e "$build" -e "$prefix.first" "$prefix" |
  grep -v '/vrampoold@\.service$' || true)

library=$(find "$prefix" -name 'libvrampool.so.0' | head -n 1)
if [[ -n $library ]]; then
  # What a program drags in with the client library: the C and C++ runtime.
  while read -r needed; do
    case $needed in
      libc.so.6 | libm.so.6 | libgcc_s.so.1 | libstdc++.so.6 | ld-linux-*) ;;
      *) complain "libvrampool needs $needed" ;;
    esac
  done < <(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  # What it puts into the program's name space: its own C names.
  while read -r symbol; do
    complain "libvrampool exports $symbol"
  done < <(nm -D --defined-only "$library" |
    awk '$3 !~ /^vrampool_/ {print $3}' | grep -v '^VRAMPOOL_' || true)
fi

# Build folders must not be searched for libraries, nor by anybody.
while read -r file; do
  if readelf -d "$file" 2>/dev/null | grep -E 'R(UN)?PATH' |
    grep -qvF "\$ORIGIN"; then
    complain "$file has a library search path of the build"
  fi
done < <(find "$prefix" -type f \( -path '*/bin/*' -o -name '*.so*' \))

"$prefix/bin/vrampool" --help >/dev/null || complain "vrampool --help fails"
"$prefix/bin/vrampoold" --help >/dev/null || complain "vrampoold --help fails"

echo "$problems problems"
((problems == 0))
