"""Versions on their way between machines: what another place keeps, and how a version's folder arrives.

A place knows, for each digest, the files of the version with their SHA-256. Only files that the other side
lacks travel; a version appears there last, when all of its files are. What arrives is checked by its digests,
then as `goldloop verify` does, and only then listed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from goldloop.dataset import history
from goldloop.dataset.certificate import CERTIFICATE, DESCRIPTION, require
from goldloop.dataset.draft import ASIDE
from goldloop.dataset.layout import link
from goldloop.dataset.past import NAME_LENGTH
from goldloop.durable import flush, flush_all
from goldloop.errors import CertificateError, VersionError
from goldloop.progress import Progress, Silent

_NAME = re.compile(r"README\.md|(data|goldloop)/[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AT_ONCE = 8
_SILENT = Silent()


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a version: its SHA-256, empty where only its own seal tells what it is, and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a transfer did.

    Attributes:
        version: `NAME@DIGEST`.
        place: the other side's address, without secrets.
        files: how many the version has.
        sent: how many of them travelled.
        bytes: how many bytes those have.
    """

    version: str
    place: str
    files: int
    sent: int
    bytes: int

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Place(Protocol):
    """Where versions are kept beside this machine."""

    def find(self, name: str, digest: str) -> str:
        """The whole digest of the version that begins so, or of the one that was published last (`latest`).

        Raises:
            VersionError: there is none, or several begin so, or the place cannot be reached.
        """

    def files(self, name: str, digest: str) -> Mapping[str, Stored]:
        """The files of a version by their paths in its folder."""

    def get(self, name: str, digest: str, path: str, stored: Stored, target: Path) -> None:
        """Bring one file here."""


def files_of(folder: Path) -> dict[str, Stored]:
    """The files of a version here, as its certificate tells; it holds."""
    text = (folder / CERTIFICATE).read_bytes()
    found = {
        name: Stored(facts["sha256"], facts["bytes"]) for name, facts in json.loads(text)["files"].items()
    }
    return {**found, CERTIFICATE: Stored(hashlib.sha256(text).hexdigest(), len(text))}


def bring(folder: Path, place: Place, digest: str, progress: Progress = _SILENT) -> tuple[str, int, int]:
    """Have a version of another place here, listed; one that was cut off goes on with what has arrived.

    The caller holds the recipe's lock.

    Args:
        folder: of the name, here.
        place: where it is kept.
        digest: the beginning of its digest, or `latest`.
        progress: where to tell how far it is.

    Returns:
        its whole digest, how many files travelled, and how many bytes those have.

    Raises:
        VersionError: there is no such version, or the classes of those here have other ids.
        CertificateError: what arrived is not what its certificate says; nothing of it is kept.
    """
    name = folder.name
    whole = place.find(name, digest)
    target = folder / whole[:NAME_LENGTH]
    aside = folder / f"{ASIDE}arriving-{whole[:NAME_LENGTH]}"
    sent: list[Stored] = []
    if not target.exists():
        files = _checked(place.files(name, whole), place)
        sent = _collect(folder, aside, place, whole, files, progress)
        try:
            require(aside)
            commit = _commit_of(aside, whole)
            known = history.commits(folder)
            _check_registry(known, commit, folder)
        except (CertificateError, VersionError):
            shutil.rmtree(aside)
            raise
        flush_all([*(path for path in aside.rglob("*")), aside])
        aside.replace(target)
        flush(folder)
    commit = _commit_of(target, whole)
    if all(each.digest != whole for each in history.commits(folder)):
        history.insert(folder, commit)
    return whole, len(sent), sum(each.bytes for each in sent)


def _checked(files: Mapping[str, Stored], place: Place) -> Mapping[str, Stored]:
    """The same, unless one of them would lie elsewhere than in a version's folder."""
    for path, stored in files.items():
        if not _NAME.fullmatch(path) or not (_DIGEST.fullmatch(stored.sha256) or path == CERTIFICATE):
            raise VersionError("a file does not belong into a version", where=place, found=repr(path)[:200])
    return files


def _collect(
    folder: Path, aside: Path, place: Place, digest: str, files: Mapping[str, Stored], progress: Progress
) -> list[Stored]:
    """Have all files of a version in a folder aside; returns those that travelled."""
    here = _known_files(folder)
    for name in ("data", "goldloop"):
        (aside / name).mkdir(parents=True, exist_ok=True)
    for left in [path for path in aside.rglob("*") if path.is_file()]:
        if left.relative_to(aside).as_posix() not in files:
            left.unlink()
    missing = []
    for path, stored in files.items():
        target = aside / path
        if target.exists() and _is(target, stored):
            continue
        target.unlink(missing_ok=True)
        source = here.get(stored.sha256)
        if source is not None and _is(source, stored):
            link(source, target)
        else:
            missing.append((path, stored))
    with progress.track("fetch", sum(stored.bytes for _, stored in missing)) as advance:

        def fetch(path: str, stored: Stored) -> None:
            _fetch(place, folder.name, digest, path, stored, aside / path)
            advance(stored.bytes)

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for done in [threads.submit(fetch, *each) for each in missing]:
                done.result()
    return [stored for _, stored in missing]


def _fetch(place: Place, name: str, digest: str, path: str, stored: Stored, target: Path) -> None:
    arriving = target.with_name(f"{target.name}.part")
    place.get(name, digest, path, stored, arriving)
    if not _is(arriving, stored):
        arriving.unlink()
        raise CertificateError(
            "a file did not arrive as it was published",
            where=f"{name}@{digest[:12]} {path}",
            expected=f"{stored.bytes} bytes with SHA-256 {stored.sha256}",
            remedy="Fetch again; if it comes back, publish the version again",
        )
    arriving.replace(target)


def _is(path: Path, stored: Stored) -> bool:
    if not stored.sha256:
        return True
    if path.stat().st_size != stored.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == stored.sha256


def _known_files(folder: Path) -> dict[str, Path]:
    """SHA-256 -> a file that a version here has."""
    found: dict[str, Path] = {}
    for certificate in folder.glob(f"{'[0-9a-f]' * NAME_LENGTH}/{CERTIFICATE}"):
        try:
            files = json.loads(certificate.read_bytes())["files"]
            found |= {facts["sha256"]: certificate.parent.parent / path for path, facts in files.items()}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a broken version has nothing to give
    return {digest: path for digest, path in found.items() if path.is_file()}


def _commit_of(folder: Path, digest: str) -> history.Commit:
    """The line of the log that a version's folder tells of itself."""
    fields = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if fields["digest"] != digest:
        raise VersionError("another version arrived", where=folder, found=fields["digest"], expected=digest)
    return history.Commit(
        digest, fields["created_at"], fields["message"], fields["parent"], tuple(fields["classes"])
    )


def _check_registry(known: list[history.Commit], commit: history.Commit, folder: Path) -> None:
    """Refuse a version whose class ids mean something else than those here: ids never move."""
    here = known[-1].classes if known else ()
    shared = min(len(here), len(commit.classes))
    if here[:shared] != commit.classes[:shared]:
        raise VersionError(
            "its classes have other ids than those of the versions here",
            where=folder,
            found=", ".join(commit.classes),
            expected=", ".join(here),
            remedy="Fetch it into another workspace (GOLDLOOP_HOME)",
        )
