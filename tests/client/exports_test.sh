#!/bin/sh
# exports_test.sh LIBRARY MODULE HEADER... - the library exports exactly the
# names that its headers declare, and needs none of the libraries that a program may
# bring in another version.
set -eu
library=$1
module=$2
shift 2

exported=$(nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' |
  sed 's/@.*//' | sort)
declared=$(cat "$@" | tr '\n' ' ' | sed 's/VRAMPOOL_API/\nVRAMPOOL_API/g' |
  sed -n 's/^VRAMPOOL_API [^(]*[ *]\(vrampool_[a-z_]*\)(.*/\1/p' | sort)
if [ "$exported" != "$declared" ]; then
  echo "exported and declared names differ:"
  echo "exported: $exported"
  echo "declared: $declared"
  exit 1
fi

if ldd "$library" | grep -E 'grpc|protobuf|absl|upb|cares'; then
  echo "the library needs what it must not"
  exit 1
fi
if nm -DC "$library" | grep -E 'grpc::|google::protobuf|absl::'; then
  echo "the library refers to what it must not"
  exit 1
fi

# The marks are found by name, but not exported.
for mark in vrampool_manifest_enter vrampool_manifest_leave; do
  nm "$library" | grep -q " t $mark\$"
done

[ "$(nm -D --defined-only "$module" | awk '$2 == "T" {print $3}' |
  sed 's/@.*//')" = vrampool_rpc_module ]
