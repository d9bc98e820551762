"""Addresses of files anywhere, by fsspec."""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from goldloop.connectors._content import printable, without_secrets
from goldloop.connectors._walking import Info, below, has_signs, matching
from goldloop.errors import ItemError, PluginError, SourceError

_LOG = logging.getLogger(__name__)
_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs", "adlfs": "azure", "paramiko": "sftp", "sshfs": "sftp"}
_ARCHIVES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
}
_WITH_HOST = frozenset({"sftp", "ssh", "ftp"})
_PAUSES = (0.5, 2.0)
_PIECE = 1 << 20
_PASSING = frozenset({429, 500, 502, 503, 504})
_MARKS = (
    "size", "mtime", "LastModified", "ETag", "etag", "updated", "last_modified", "created", "md5Hash",
    "crc32c", "content_settings", "CRC", "date_time", "chksum", "Last-Modified",
)  # fmt: skip
_DIGESTS = ("ETag", "etag", "md5Hash", "crc32c")


@dataclass
class Location:
    """A file system and a path or glob in it.

    Attributes:
        system: of fsspec.
        path: without the protocol.
        url: as it was given.
    """

    system: Any
    path: str
    url: str

    def walk(self) -> Iterator[tuple[str, Info]]:
        """Every file of the folder or glob, or the file itself, in the order of their paths.

        Memory holds the listing of one folder and of those above it.

        Raises:
            SourceError: it cannot be listed.
        """
        self.system.invalidate_cache()
        try:
            if self.is_web:
                yield from self._linked()
            elif self._is_glob():
                yield from matching(self.system, self.path)
            else:
                yield from below(self.system, self.path)
        except FileNotFoundError:
            return
        except SourceError:
            raise
        except Exception as error:
            # Drivers raise what their services do: OSError, ClientError, HTTP errors.
            raise self.failure(error) from error

    def _linked(self) -> Iterator[tuple[str, Info]]:
        find = self.system.glob if self._is_glob() else self.system.find
        found = find(self.path, detail=True)
        yield from sorted((path, info) for path, info in found.items() if info.get("type") != "directory")

    def _is_glob(self) -> bool:
        # A folder of this machine may well be called `photos [2024]`.
        return has_signs(self.path) and not (self.is_local and os.path.lexists(self.path))

    def info(self, path: str) -> Info:
        """What the system tells of a file without reading it.

        Raises:
            ItemError: it cannot be asked.
        """
        try:
            return dict(self.system.info(path))
        except Exception as error:
            raise ItemError("the file cannot be read", found=_said(error)) from error

    def read(self, path: str) -> bytes:
        """A file's bytes; what fails for the moment is tried again.

        Raises:
            ItemError: it cannot be read.
        """
        for pause in (*_PAUSES, None):
            try:
                return bytes(self.system.cat_file(path))
            except Exception as error:
                # As above: one file that fails must not stop the rest.
                if pause is None or not _is_passing(error):
                    raise ItemError("the file cannot be read", found=_said(error)) from error
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file's bytes, piece by piece.

        Raises:
            ItemError: it cannot be read.
        """
        try:
            with self.system.open(path, "rb", block_size=_PIECE, cache_type="readahead") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except Exception as error:
            # As above.
            raise ItemError("the file cannot be read", found=_said(error)) from error

    def signed(self, path: str, seconds: int, mark: str) -> str | None:
        """An address that anybody may read a file at for so long, if the file is still the one of a mark.

        None where the store signs no addresses, has no digests to tell a file by, or does not answer.
        """
        try:
            info = self.info(path)
            digests = [f"{name}={info[name]}" for name in _DIGESTS if info.get(name) is not None]
            if not digests or not all(each in mark.split(" ") for each in digests):
                return None
            return str(self.system.sign(path, expiration=seconds))
        except NotImplementedError:
            return None
        except Exception as error:
            # As above; whoever asks has another way to the bytes.
            _LOG.warning("no address of %s can be signed: %s", path, _said(error))
            return None

    @property
    def is_local(self) -> bool:
        """Whether paths are those of this machine."""
        return self._protocol in ("file", "local")

    @property
    def is_web(self) -> bool:
        """Whether paths are addresses of a web server, which has no folders."""
        return self._protocol in ("http", "https")

    @property
    def _protocol(self) -> str:
        protocol = self.system.protocol
        return str(protocol if isinstance(protocol, str) else protocol[0])

    @property
    def _outside(self) -> str:
        """Of an archive, where it lies: what stands behind `::` in its address."""
        _, chain, outside = self.url.partition("::")
        return chain + outside

    def fetch(self, folder: Path) -> None:
        """Copy every file to a folder of this machine.

        Raises:
            SourceError: they cannot be listed or read.
        """
        start = self.path.rstrip("/")
        for path, _ in self.walk():
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
        full = path if "://" in path else str(self.system.unstrip_protocol(path))
        if self._protocol in _WITH_HOST and not self._outside:
            # Their drivers know one server, and leave it out.
            parts = urlsplit(self.url)
            full = f"{parts.scheme}://{parts.netloc}/{path.lstrip('/')}"
        return full + self._outside

    def shown(self, path: str) -> str:
        """The address of a path as it may be kept and told: without secrets, and with characters only."""
        return printable(without_secrets(self.uri(path)))

    def beside(self, name: str) -> tuple[Location, str]:
        """Where a file lies that is named relative to this one, or by an address of any kind; and its path.

        Raises:
            ItemError: a file from elsewhere names one of this machine, or the address is of no known kind.
            PluginError: the driver for the address is not installed.
        """
        if "://" not in name:
            return self, self._beside(name)
        try:
            other = locate(name)
        except SourceError as error:
            raise ItemError(error.problem, found=error.found) from error
        if other.is_local and not self.is_local:
            raise ItemError("a file from elsewhere names one of this machine", found=name)
        return other, other.path

    def _beside(self, name: str) -> str:
        if "://" in self.path:
            return urljoin(self.path, name)
        return name if name.startswith("/") else posixpath.join(posixpath.dirname(self.path), name)

    def failure(self, error: Exception) -> SourceError:
        """What to raise when the source as a whole cannot be read."""
        return _unreadable(self.url, error)


def locate(url: str) -> Location:
    """The file system and path that a URL means; a relative path starts at the current folder.

    Raises:
        PluginError: the driver's package is not installed.
        SourceError: no such protocol, or an archive that cannot be opened.
    """
    import fsspec

    where = without_secrets(url)
    # An archive is opened anew, as what lies at its address may be another one by now.
    options = {"skip_instance_cache": True} if "::" in url else {}
    try:
        system, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        package = next((name for name in _EXTRAS if name in str(error)), None)
        remedy = f"`pip install 'goldloop[{_EXTRAS[package]}]'`" if package else f"{error}"
        raise PluginError("a driver is not installed", where=where, remedy=remedy) from error
    except ValueError as error:
        raise SourceError("unknown kind of address", where=where, found=str(error)) from error
    except Exception as error:
        # To open an archive is to read it: its own faults, and those of the store that it lies in.
        raise _unreadable(url, error) from error
    return Location(system, path, url)


def locations(url: str) -> Iterator[Location]:
    """As `locate`; an archive that is named by its address alone is opened, and a glob of archives is each.

    Raises:
        PluginError: as `locate`.
        SourceError: as `locate`.
    """
    inside, chain, outside = url.partition("::")
    if not chain:
        packer = next((packer for end, packer in _ARCHIVES.items() if url.lower().endswith(end)), None)
        if packer is None:
            yield locate(url)
            return
        inside, outside = f"{packer}://", url
    if "::" in outside or not has_signs(outside):
        yield locate(f"{inside}::{outside}")
        return
    place = locate(outside)
    for path, _ in place.walk():
        yield locate(f"{inside}::{path if place.is_local else place.system.unstrip_protocol(path)}")


def folder_at(url: str) -> Location:
    """A folder, for what is named relative to it.

    Raises:
        PluginError: as `locate`.
        SourceError: as `locate`.
    """
    location = locate(url)
    return replace(location, path=f"{location.path.rstrip('/')}/")


def extension_of(path: str) -> str:
    """The extension of a path in lower case, with its dot; the query of a web address is none of it."""
    name = path.partition("?")[0] if "://" in path else path
    return posixpath.splitext(name)[1].lower()


def file_mark(info: Info) -> str | None:
    """What changes when a file does, as far as its store can tell without reading it; None if it cannot."""
    mark = " ".join(f"{name}={info[name]}" for name in _MARKS if info.get(name) is not None)
    return mark if any(info.get(name) is not None for name in _MARKS if name != "size") else None


def listing_digest(files: Iterable[tuple[str, Info]]) -> str:
    """A digest of names and marks."""
    digest = hashlib.sha256()
    for path, info in files:
        mark = f"{path}\0{info.get('size')} {file_mark(info)}\0"
        digest.update(mark.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _unreadable(url: str, error: Exception) -> SourceError:
    return SourceError(
        "the source cannot be read",
        where=without_secrets(url),
        found=_said(error),
        remedy="Check the address, and the credentials in the driver's own environment variables",
    )


def _said(error: Exception) -> str:
    """An error in a line, without what could be a secret."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return without_secrets(" ".join(text.split()))[:300]


def _is_passing(error: Exception) -> bool:
    """Whether it may be well in a moment: an overloaded server, a dropped connection."""
    status = getattr(error, "status", None)
    if status is not None:
        return status in _PASSING
    return isinstance(error, TimeoutError | ConnectionError)
