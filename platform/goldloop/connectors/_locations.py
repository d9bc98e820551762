"""Addresses of files anywhere, by fsspec."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from goldloop.connectors._content import printable, without_secrets
from goldloop.errors import ItemError, PluginError, SourceError

_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs", "adlfs": "azure"}


@dataclass
class Location:
    """A file system and a path or glob in it.

    Attributes:
        system: of fsspec.
        path: without the protocol.
        url: as it was given.
        listing: what the system told of each file found.
    """

    system: Any
    path: str
    url: str
    listing: dict[str, dict[str, Any]] = field(default_factory=dict)

    def find(self) -> list[str]:
        """Every file of the folder or glob, or the file itself.

        Raises:
            SourceError: it cannot be listed.
        """
        try:
            if self._is_glob():
                found = self.system.glob(self.path, detail=True)
            else:
                found = self.system.find(self.path, detail=True)
        except FileNotFoundError:
            found = {}
        except Exception as error:
            # Drivers raise what their services do: OSError, ClientError, HTTP errors.
            raise self.failure(error) from error
        self.listing = {path: info for path, info in found.items() if info.get("type") != "directory"}
        return list(self.listing)

    def _is_glob(self) -> bool:
        # A folder of this machine may well be called `photos [2024]`.
        has_signs = any(character in self.path for character in "*?[")
        return has_signs and not (self.is_local and os.path.lexists(self.path))

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            ItemError: it cannot be read.
        """
        try:
            return bytes(self.system.cat_file(path))
        except Exception as error:
            # As above: one file that fails must not stop the rest.
            raise ItemError("the file cannot be read", found=_said(error)) from error

    @property
    def is_local(self) -> bool:
        """Whether paths are those of this machine."""
        protocol = self.system.protocol
        return (protocol if isinstance(protocol, str) else protocol[0]) in ("file", "local")

    def fetch(self, folder: Path) -> None:
        """Copy every file to a folder of this machine.

        Raises:
            SourceError: they cannot be listed or read.
        """
        start = self.path.rstrip("/")
        for path in self.find():
            relative = posixpath.relpath(path, start) if path != start else posixpath.basename(path)
            if ".." in relative.split("/"):
                raise SourceError("a file lies outside of the data set", where=self.uri(path))
            copy = folder / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.system.get_file(path, str(copy))
            except Exception as error:
                # Drivers raise what their services do: OSError, ClientError, HTTP errors.
                raise self.failure(error) from error

    def uri(self, path: str) -> str:
        """The full address of a path: a POSIX path for local files, else with its protocol."""
        if self.is_local:
            return path
        return path if "://" in path else str(self.system.unstrip_protocol(path))

    def shown(self, path: str) -> str:
        """The address of a path as it may be kept and told: without secrets, and with characters only."""
        return printable(without_secrets(self.uri(path)))

    def read_beside(self, name: str) -> bytes:
        """The bytes of a file that is named relative to this one, or by an address of any kind.

        Raises:
            ItemError: it cannot be read, or a file from elsewhere names one of this machine.
            PluginError: the driver for the address is not installed.
        """
        if "://" not in name:
            return self.read(self._beside(name))
        try:
            other = locate(name)
        except SourceError as error:
            raise ItemError(error.problem, found=error.found) from error
        if other.is_local and not self.is_local:
            raise ItemError("a file from elsewhere names one of this machine", found=name)
        return other.read(other.path)

    def _beside(self, name: str) -> str:
        if "://" in self.path:
            return urljoin(self.path, name)
        return name if name.startswith("/") else posixpath.join(posixpath.dirname(self.path), name)

    def failure(self, error: Exception) -> SourceError:
        """What to raise when the source as a whole cannot be read."""
        return SourceError(
            "the source cannot be read",
            where=without_secrets(self.url),
            found=_said(error),
            remedy="Check the address, and the credentials in the driver's own environment variables",
        )


def locate(url: str) -> Location:
    """The file system and path that a URL means; a relative path starts at the current folder.

    Raises:
        PluginError: the driver's package is not installed.
        SourceError: no such protocol.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = next((name for name in _EXTRAS if name in str(error)), None)
        remedy = f"`pip install 'goldloop[{_EXTRAS[package]}]'`" if package else f"{error}"
        raise PluginError("a driver is not installed", where=without_secrets(url), remedy=remedy) from error
    except ValueError as error:
        raise SourceError("unknown kind of address", where=without_secrets(url), found=str(error)) from error
    return Location(system, path, url)


def extension_of(path: str) -> str:
    """The extension of a path in lower case, with its dot; the query of a web address is none of it."""
    name = path.partition("?")[0] if "://" in path else path
    return posixpath.splitext(name)[1].lower()


def file_mark(info: dict[str, Any]) -> str:
    """What changes when a file does, as far as its store can tell without reading it."""
    names = ("size", "mtime", "LastModified", "ETag", "etag", "updated", "last_modified", "created")
    return " ".join(f"{name}={info[name]}" for name in names if info.get(name) is not None)


def _said(error: Exception) -> str:
    """An error in a line, without what could be a secret."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return without_secrets(" ".join(text.split()))[:300]
