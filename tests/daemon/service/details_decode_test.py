#!/usr/bin/env python3
"""Whether the public google.rpc messages read the daemon's error details.

Takes the bytes of grpc-status-details-bin in hex, as arguments or as lines on
stdin, and decodes them with googleapis-common-protos. For each it prints one
line of JSON and fails if a detail is of an unknown type, does not parse, leaves
unknown bytes, or if there is no ErrorInfo of the domain "vrampool".
"""

import json
import sys

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

KNOWN = {
    "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
    "google.rpc.QuotaFailure": error_details_pb2.QuotaFailure,
    "google.rpc.RetryInfo": error_details_pb2.RetryInfo,
}


def decode(text):
    """The details in `text` as plain values; ValueError when they are wrong."""
    status = status_pb2.Status.FromString(bytes.fromhex(text))
    details = {}
    for detail in status.details:
        kind = detail.type_url.rpartition("/")[2]
        if not detail.type_url.startswith("type.googleapis.com/"):
            raise ValueError(f"type URL {detail.type_url}")
        if kind not in KNOWN:
            raise ValueError(f"unknown detail {kind}")
        message = KNOWN[kind]()
        if not detail.Unpack(message):
            raise ValueError(f"{kind} does not unpack")
        # A field that the public message lacks would survive as unknown bytes.
        known_only = KNOWN[kind].FromString(detail.value)
        known_only.DiscardUnknownFields()
        if known_only.ByteSize() != len(detail.value):
            raise ValueError(f"{kind} has fields that the public one lacks")
        details[kind] = json_format.MessageToDict(
            message, preserving_proto_field_name=True
        )
    info = details.get("google.rpc.ErrorInfo", {})
    if info.get("domain") != "vrampool" or not info.get("reason"):
        raise ValueError(f"no ErrorInfo of ours: {info}")
    return {"code": status.code, "message": status.message, "details": details}


def main():
    texts = sys.argv[1:] or sys.stdin.read().split()
    if not texts:
        sys.exit("give the details in hex, as arguments or on stdin")
    for text in texts:
        try:
            print(json.dumps(decode(text), sort_keys=True))
        except ValueError as error:
            sys.exit(f"{text[:60]}: {error}")


if __name__ == "__main__":
    main()
