#!/usr/bin/env python3
"""Checks that includes go one way.

Every quoted include of base/, proto/, daemon/ and client/ must follow an edge
of ALLOWED, and every outside library must be in OUTSIDE for that layer. What
the client library includes is also followed through our own headers: not even
one of those may bring Abseil, Protocol Buffers or gRPC into it.

    include_check.py --self-test     checks the checker on invented files
"""

import pathlib
import re
import sys

import repo_files

# The layer of a file is the longest of these that its path starts with.
# GENERATED stands for what protoc makes of our .proto files.
GENERATED = "generated"
# `proto` stands for the headers of shared memory and of the attach socket.
CORE = ["base", "proto", "daemon/core"]
DAEMON_MIDDLE = CORE + [GENERATED]
ALLOWED = {
    "base": [],
    "proto": ["base"],
    "daemon/core": ["base", "proto"],
    "daemon/device": CORE,
    "daemon/broker": CORE,
    "daemon/config": DAEMON_MIDDLE,
    "daemon/attach": CORE + ["daemon/broker", "daemon/config"],
    "daemon/observe": DAEMON_MIDDLE + ["daemon/broker"],
    "daemon/service": DAEMON_MIDDLE + ["daemon/broker", "daemon/config",
                                       "daemon/attach", "daemon/observe"],
    # daemon/main.cc and what else lies there: the only place that sees all.
    "daemon": DAEMON_MIDDLE + ["daemon/broker", "daemon/config",
                               "daemon/device", "daemon/attach",
                               "daemon/observe", "daemon/service"],
    "client/include": [],
    # A name with a suffix stands for that one file.
    "client/cuda": ["base", "client/include", "client/session/status.h"],
    "client/session": ["base", "proto", "client/include", "client/cuda",
                       "client/allocator"],
    "client/order": ["base", "client/include", "client/cuda",
                     "client/session"],
    "client/allocator": ["base", "proto", "client/include", "client/cuda",
                         "client/session", "client/order"],
    "client/interpose": ["base", "client/include", "client/cuda",
                         "client/session", "client/allocator"],
    "client/rpc": ["base", "proto", GENERATED, "client/include",
                   "client/session"],
    "client/cli": ["base", "proto", GENERATED, "client/include"],
    # C entry points and the like, directly in client/.
    "client": ["base", "proto", "client/include", "client/cuda",
               "client/session", "client/order", "client/allocator"],
}

# Outside libraries by the beginning of the include.
LIBRARIES = {
    "absl/": "absl",
    "google/": "protobuf",
    "grpc/": "grpc",
    "grpcpp/": "grpc",
    "spdlog/": "spdlog",
    "CLI/": "cli11",
    "systemd/": "systemd",
    "prometheus/": "prometheus",
}
OUTSIDE = {
    "base": ["absl"],
    "daemon/core": ["absl"],
    "daemon/device": ["absl"],
    "daemon/broker": ["absl"],
    "daemon/config": ["absl", "protobuf", "cli11"],
    "daemon/attach": ["absl"],
    "daemon/observe": ["absl", "protobuf", "spdlog", "systemd", "prometheus"],
    "daemon/service": ["absl", "protobuf", "grpc"],
    "daemon": ["absl"],
    "client/rpc": ["absl", "protobuf", "grpc"],
    "client/cli": ["absl", "protobuf", "grpc", "cli11"],
}

# Layers that must be free of every library, also through our own headers.
BARE = ["client", "client/include", "client/cuda", "client/session",
        "client/order", "client/allocator"]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SUFFIXES = {".h", ".cc", ".c", ".cpp", ".inc"}


def layer_of(path):
    """The layer of a path relative to the root, or None."""
    fits = [layer for layer in ALLOWED if path.startswith(layer + "/")]
    return max(fits, key=len) if fits else None


def resolve(include, files):
    """The repository's file behind an include, GENERATED, or None."""
    if include in files:
        return include
    if include.endswith(".pb.h") and library_of(include) is None:
        return GENERATED
    public = "client/include/" + include
    return public if public in files else None


def library_of(include):
    for start, library in LIBRARIES.items():
        if include.startswith(start):
            return library
    return None


def check(files):
    """Problems of `files`, a map from path to text."""
    includes = {path: INCLUDE.findall(text) for path, text in files.items()}
    problems = []

    def carried(path, seen):
        """(library, chain of headers) pairs that including `path` brings."""
        for _, include in includes[path]:
            target = resolve(include, files)
            if target == GENERATED:
                yield "protobuf", [path, include]
            elif target is None and library_of(include):
                yield library_of(include), [path, include]
            elif target is not None and target not in seen:
                seen.add(target)
                for library, chain in carried(target, seen):
                    yield library, [path] + chain

    for path in files:
        layer = layer_of(path)
        if layer is None:
            continue
        for mark, include in includes[path]:
            target = resolve(include, files)
            library = library_of(include)
            if target is not None:
                to = target if target == GENERATED else layer_of(target)
                if to is None:
                    problems.append(f"{path}: {include} is outside all layers")
                elif (to != layer and to not in ALLOWED[layer] and
                      target not in ALLOWED[layer]):
                    problems.append(f"{path}: {layer} must not include {to} "
                                    f"({include})")
            elif library is not None:
                if library not in OUTSIDE.get(layer, []):
                    problems.append(f"{path}: {layer} must not use {library} "
                                    f"({include})")
            elif mark == '"':
                problems.append(f'{path}: "{include}" is no file of ours')
        if layer in BARE:
            for library, chain in carried(path, {path}):
                if len(chain) > 2:
                    problems.append(f"{path}: {layer} must not use {library} "
                                    f"(through {' -> '.join(chain[1:])})")
    return problems


def self_test():
    clean = {
        "base/a.h": '#include <vector>\n#include "absl/time/time.h"\n',
        "daemon/core/c.h": '#include "base/a.h"\n',
        "daemon/service/s.cc": '#include "daemon/core/c.h"\n'
                               '#include "grpcpp/server.h"\n'
                               '#include "vrampool/v1/admin.pb.h"\n',
        "client/include/vrampool/v.h": "#include <cstddef>\n",
        "client/rpc/r.cc": '#include "vrampool/v.h"\n',
        "client/session/status.h": "",
        "client/session/x.h": "",
        "client/cuda/f.h": '#include "client/session/status.h"\n',
    }
    assert check(clean) == [], check(clean)
    planted = {
        ("base/b.h", '#include "daemon/core/c.h"'): "base must not include",
        ("daemon/core/d.h", '#include <grpcpp/server.h>'): "must not use grpc",
        ("daemon/core/e.cc", '#include "daemon/device/x.h"'): "no file of ours",
        ("daemon/core/f.cc", '#include "vrampool/v1/x.pb.h"'): "generated",
        ("client/session/s.h", '#include "daemon/core/c.h"'):
            "client/session must not include daemon/core",
        ("client/cuda/g.h", '#include "client/session/x.h"'):
            "client/cuda must not include client/session",
        ("client/allocator/a.cc", '#include "base/a.h"'): "through base/a.h",
        ("client/allocator/b.cc", '# include "absl/x.h"'): "must not use absl",
        ("client/include/vrampool/w.h", '#include "base/a.h"'):
            "client/include must not include base",
        ("daemon/main.cc", '#include "client/include/vrampool/v.h"'):
            "daemon must not include client/include",
    }
    for (path, text), expected in planted.items():
        found = check({**clean, path: text + "\n"})
        assert any(expected in line for line in found), (path, found)
    print(f"{len(planted)} planted mistakes found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    files = {str(path): (repo_files.ROOT / path).read_text(errors="replace")
             for path in repo_files.tracked()
             if path.suffix in SUFFIXES
             and path.parts[0] in ("base", "proto", "daemon", "client")}
    repo_files.report(check(files), len(files))


if __name__ == "__main__":
    main()
