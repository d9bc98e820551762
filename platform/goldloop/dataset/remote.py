"""Versions on any file system of fsspec: a bucket, a share, a folder.

    <url>/objects/ab/<sha256>     every file, by content, once for all versions of all names
    <url>/NAME/<digest>.json      the files of one version; written when all of them are there
    <url>/NAME/latest             the digest of the version that was published last

An object store shows an object whole or not at all; elsewhere a file is written aside and renamed.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from goldloop.connectors._content import without_secrets
from goldloop.connectors._locations import locate
from goldloop.dataset.travel import Stored, files_of
from goldloop.durable import flush
from goldloop.errors import SourceError, VersionError
from goldloop.progress import Progress, Silent

FORMAT = 1
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "r2", "memory"}
_AT_ONCE = 8
_SILENT = Silent()


class Remote:
    """A place at an fsspec URL.

    Args:
        url: such as `s3://bucket/datasets`; a relative path starts at the current folder.

    Raises:
        PluginError: the driver's package is not installed.
        VersionError: no such protocol.
    """

    def __init__(self, url: str) -> None:
        try:
            location = locate(url)
        except SourceError as error:
            raise VersionError(error.problem, where=error.where, found=error.found) from error
        self._system = location.system
        self._root = location.path.rstrip("/")
        self._is_local = location.is_local
        protocol = self._system.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_object_store = bool(names & _OBJECT_STORES)
        self.url = without_secrets(url)

    def __str__(self) -> str:
        return self.url

    def publish(self, name: str, digest: str, folder: Path, progress: Progress = _SILENT) -> tuple[int, int]:
        """Send the files of a version that are not there yet, and then say that it is there.

        Args:
            name: of the version.
            digest: the whole of it.
            folder: where it lies here; it holds.
            progress: where to tell how far it is.

        Returns:
            how many files travelled, and how many bytes those have.

        Raises:
            VersionError: the place cannot be reached, or does not take it.
        """
        files = files_of(folder)
        self._system.invalidate_cache()
        sources = {stored: folder / path for path, stored in files.items()}
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            there = dict(zip(sources, threads.map(self._has, sources), strict=True))
            missing = [stored for stored, is_there in there.items() if not is_there]
            with progress.track("publish", sum(stored.bytes for stored in missing)) as advance:

                def send(stored: Stored) -> None:
                    self._send(sources[stored], stored)
                    advance(stored.bytes)

                for done in [threads.submit(send, stored) for stored in missing]:
                    done.result()
        told = {"format": FORMAT, "name": name, "digest": digest}
        told["files"] = {path: asdict(stored) for path, stored in sorted(files.items())}
        self._write(f"{name}/{digest}.json", json.dumps(told, indent=1).encode() + b"\n")
        self._write(f"{name}/latest", digest.encode() + b"\n")
        return len(missing), sum(stored.bytes for stored in missing)

    def find(self, name: str, digest: str) -> str:
        """See `Place`."""
        self._system.invalidate_cache()
        if digest == "latest":
            try:
                return self._read(f"{name}/latest").decode().strip()
            except FileNotFoundError:
                known = []
        else:
            known = self.versions(name)
        found = [each for each in known if each.startswith(digest)]
        if len(found) == 1:
            return found[0]
        raise VersionError(
            "several versions begin so" if found else "no such version is published here",
            where=f"{self} {name}@{digest}",
            found=", ".join(f"{name}@{each[:12]}" for each in known or self.versions(name))
            or "none of that name",
            remedy="Publish it with `goldloop publish`",
        )

    def versions(self, name: str) -> list[str]:
        """The digests of all versions of a name that are published here."""
        try:
            paths = self._system.ls(self._path(name), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            # Drivers raise what their services do: OSError, ClientError, HTTP errors.
            raise self._failure(error) from error
        names = (posixpath.basename(path) for path in paths)
        return sorted(each.removesuffix(".json") for each in names if each.endswith(".json"))

    def files(self, name: str, digest: str) -> Mapping[str, Stored]:
        """See `Place`."""
        where = f"{name}/{digest}.json"
        try:
            told = json.loads(self._read(where))
            if told["format"] != FORMAT or told["digest"] != digest:
                raise ValueError("it is of another format, or of another version")
            return {path: Stored(facts["sha256"], facts["bytes"]) for path, facts in told["files"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise VersionError(
                "the list of a published version's files cannot be read",
                where=f"{self}/{where}",
                found=str(error) or type(error).__name__,
                remedy="Publish the version again",
            ) from error

    def get(self, name: str, digest: str, path: str, stored: Stored, target: Path) -> None:
        """See `Place`."""
        try:
            self._system.get_file(self._path(_object(stored)), str(target))
        except Exception as error:
            # As above.
            raise self._failure(error, path) from error

    def _has(self, stored: Stored) -> bool:
        try:
            return bool(self._system.info(self._path(_object(stored)))["size"] == stored.bytes)
        except FileNotFoundError:
            return False
        except Exception as error:
            # As above.
            raise self._failure(error) from error

    def _send(self, source: Path, stored: Stored) -> None:
        target = _object(stored)
        try:
            self._put(target, lambda path: self._system.put_file(str(source), path))
            size = self._system.info(self._path(target))["size"]
        except Exception as error:
            # As above.
            raise self._failure(error) from error
        if size != stored.bytes:
            raise VersionError(
                "a file did not arrive whole",
                where=f"{self}/{target}",
                found=f"{size} bytes",
                expected=stored.bytes,
            )

    def _write(self, name: str, content: bytes) -> None:
        try:
            self._put(name, lambda path: self._system.pipe_file(path, content))
        except Exception as error:
            # As above.
            raise self._failure(error) from error

    def _put(self, name: str, write: Any) -> None:
        """Have a file there whole or not at all."""
        target = self._path(name)
        if self._is_object_store:
            write(target)
            return
        self._system.makedirs(posixpath.dirname(target), exist_ok=True)
        aside = f"{target}.{uuid4().hex[:8]}.part"
        try:
            write(aside)
            if self._is_local:
                flush(Path(aside))
            self._system.mv(aside, target)
        except BaseException:
            if self._system.exists(aside):
                self._system.rm_file(aside)
            raise

    def _read(self, name: str) -> bytes:
        try:
            return bytes(self._system.cat_file(self._path(name)))
        except FileNotFoundError:
            raise
        except Exception as error:
            # As above.
            raise self._failure(error) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _failure(self, error: Exception, what: str | None = None) -> VersionError:
        return VersionError(
            "the place cannot be reached, or does not do what it is asked",
            where=self.url if what is None else f"{self.url} {what}",
            found=" ".join(without_secrets(str(error)).split())[:500] or type(error).__name__,
            remedy="Check the address, and the credentials in the driver's own environment variables",
        )


def _object(stored: Stored) -> str:
    return f"objects/{stored.sha256[:2]}/{stored.sha256}"
