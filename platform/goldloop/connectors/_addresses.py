"""Addresses in Label Studio's tasks: which server gives what is there, and which may be opened."""

from __future__ import annotations

import base64
import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

from goldloop.connectors._content import without_secrets
from goldloop.errors import ItemError

CLOUD = ("s3", "gs", "azure-blob", "azure_spi", "redis", "databricks")
"""Schemes of storages that a Label Studio opens for its tasks."""


def through_server(server: str, task: int | str, address: str) -> str:
    """Where a Label Studio, or somebody else, gives what a task's data name.

    Args:
        server: its address, without a slash at its end.
        task: the task's number; a storage is opened for the tasks that have it.
        address: as it stands in the data.

    Raises:
        ItemError: an address of a kind that is not opened.
    """
    scheme = urlsplit(address).scheme.lower()
    if scheme in CLOUD:
        named = base64.urlsafe_b64encode(address.encode()).decode()
        return f"{server}/tasks/{task}/resolve/?fileuri={named}"
    if scheme in ("http", "https"):
        return address
    if scheme:
        raise ItemError("an address of a kind that is not opened", found=without_secrets(address)[:120])
    # `/data/...` and what is relative lie on the server.
    return urljoin(f"{server}/", address)


def origin(address: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what a token is for."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def check_public(address: str) -> None:
    """Refuse an address inside of this network, which whoever wrote the task may not see.

    Raises:
        ItemError: it is one, or leads nowhere.
    """
    parts = urlsplit(address)
    shown = without_secrets(address)[:120]
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise ItemError("an address of a kind that is not opened", found=shown)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ItemError("the image's address leads nowhere", found=shown) from error
    if any(not ipaddress.ip_address(entry[4][0]).is_global for entry in found):
        raise ItemError("the image's address leads into this network", found=shown)
