"""Clients for what messages of other processes name."""

from __future__ import annotations

from typing import Dict, Tuple

from ._client import Client, connect, open_client_of

_receivers: Dict[Tuple[str, str], Client] = {}


def client_for(directory: str, device: str) -> Client:
    """A client of the device that this process has, or one for all messages."""
    found = open_client_of(device)
    if found is not None:
        return found
    key = (directory, device)
    if key not in _receivers or _receivers[key].closed:
        _receivers[key] = connect(directory or None, device)
    return _receivers[key]
