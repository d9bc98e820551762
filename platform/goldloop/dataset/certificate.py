"""The certificate of a version: what was checked when it was made, and what proves it since.

`certify` reads back from the bytes what was written, checks it, and notes the digest of every file.
`verify` does it all again from the bytes and names what is not as it should be; `require` refuses a version
with any fault. Its `seal` is the SHA-256 of the rest of it in canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from goldloop import __version__
from goldloop.dataset.digest import canonical, version_digest
from goldloop.dataset.shards import Entry, flush, read_rows, split_of_file
from goldloop.errors import CertificateError, GoldloopError
from goldloop.records import Outcome, content_key
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

_FORMAT = 1
_CERTIFICATE = Path("goldloop") / "certificate.json"
_REMEDY = "Bring the folder back from a copy, or commit again: the same labels make the same version"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it should be: where (a file, a row), and what."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked of a number of rows or files."""

    name: str
    count: int
    passed: bool


def certify(
    folder: Path,
    task: Task[Any],
    digest: str,
    entries: Sequence[Entry],
    balances: Mapping[str, Mapping[str, int]],
    outcomes: Sequence[Outcome],
    recipe_digest: str,
) -> None:
    """Check a version that has been written, from its bytes, and write its certificate.

    Raises:
        CertificateError: what was written is not what was meant.
    """
    expected = {entry.item.key: (entry.split, entry.label.target) for entry in entries}
    found, faults = _read_back(folder, task)
    targets = {key: (split, task.from_row(row)) for key, (split, row) in found.items()}
    if targets != expected:
        wrong = sorted(key for key in expected.keys() | targets if expected.get(key) != targets.get(key))
        faults += [Fault(f"row {key}", "is not what was written") for key in wrong]
    if _digest(task, found) != digest:
        faults.append(Fault(str(folder), "its digest is not that of the labels"))
    if faults:
        raise CertificateError(
            "the version did not come out as it was meant; nothing of it is kept",
            found="; ".join(map(str, faults[:5])),
        )
    labels = [entry.label for entry in entries]
    content = {
        "format": _FORMAT,
        "digest": digest,
        "goldloop": __version__,
        "recipe_digest": recipe_digest,
        "rows": len(entries),
        "ledger": {**balances, "commit": dict(Counter(outcome.outcome for outcome in outcomes))},
        "checks": [asdict(check) for check in _checks(entries)],
        "annotators": dict(Counter(name for label in labels for name in label.annotators)),
        "provenance": dict(Counter(label.provenance for label in labels)),
        "shown_models": dict(Counter(model for label in labels for model in label.shown_models)),
        "files": {
            path.relative_to(folder).as_posix(): {"sha256": _sha256(path), "bytes": path.stat().st_size}
            for path in _files(folder)
        },
    }
    sealed = {**content, "seal": _seal(content)}
    path = folder / _CERTIFICATE
    path.write_text(json.dumps(sealed, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    flush(path)


def verify(folder: Path) -> list[Fault]:
    """What is wrong with a version, from its bytes; empty if nothing is."""
    content = _certificate(folder)
    if isinstance(content, Fault):
        return [content]
    faults = [*_file_faults(folder, content["files"])]
    try:
        fields = json.loads((folder / "goldloop" / "version.json").read_text(encoding="utf-8"))
        task = tasks.create(fields["task"])
        found, row_faults = _read_back(folder, task)
        faults += row_faults
        if len(found) != content["rows"]:
            faults.append(Fault("data", f"{len(found)} rows, the certificate says {content['rows']}"))
        if not (_digest(task, found) == content["digest"] == fields["digest"]):
            faults.append(Fault("data", "the rows do not have the version's digest"))
    except (OSError, ValueError, KeyError, TypeError, GoldloopError) as error:
        faults.append(Fault("goldloop/version.json", f"cannot be read: {error}"))
    return faults


def require(folder: Path) -> None:
    """Let a version through only if it is what its certificate says.

    Raises:
        CertificateError: names the files and rows that are wrong.
    """
    faults = verify(folder)
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise CertificateError(
            "the version is not what its certificate says",
            where=folder,
            found="; ".join(map(str, faults[:5])) + more,
            remedy=_REMEDY,
        )


def _checks(entries: Sequence[Entry]) -> Iterator[Check]:
    """What has been found true by the time that a certificate is written, and of how much."""
    groups: dict[str, set[str]] = {}
    for entry in entries:
        groups.setdefault(entry.item.group, set()).add(entry.split)
    rows = len(entries)
    yield Check("content has the key that names it", rows, passed=True)
    yield Check("every key stands once", rows, passed=True)
    yield Check("targets read back from the bytes as they were given", rows, passed=True)
    yield Check("classes are in the registry", rows, passed=True)
    together = all(len(splits) == 1 for splits in groups.values())
    yield Check("every group is in one split", len(groups), passed=together)


def _read_back(folder: Path, task: Task[Any]) -> tuple[dict[str, tuple[str, dict[str, Any]]], list[Fault]]:
    """Key -> split and target columns of every row, and what is wrong with rows."""
    columns = list(task.to_row(task.examples()[0].target))
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    faults: list[Fault] = []
    for path in sorted((folder / "data").glob("*.parquet")):
        name, split = f"data/{path.name}", split_of_file(path)
        try:
            for row in read_rows(path):
                key = row["key"]
                if key in found:
                    faults.append(Fault(f"{name} row {key}", f"stands in {found[key][0]} too"))
                if _content_key(row) != key:
                    faults.append(Fault(f"{name} row {key}", "its content has another digest"))
                target = {column: row[column] for column in columns}
                faults += _target_faults(task, target, f"{name} row {key}")
                found[key] = (split, target)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # pyarrow's errors derive from these.
            faults.append(Fault(name, f"cannot be read: {' '.join(str(error).split())}"))
    return found, faults


def _target_faults(task: Task[Any], target: Mapping[str, Any], where: str) -> Iterator[Fault]:
    try:
        task.from_row(target)
    except (GoldloopError, ValueError, LookupError, TypeError) as error:
        yield Fault(where, f"its label means nothing: {error}")


def _content_key(row: Mapping[str, Any]) -> str:
    content = row["text"].encode() if "text" in row else row["image"]["bytes"]
    return content_key(content)


def _digest(task: Task[Any], found: Mapping[str, tuple[str, Mapping[str, Any]]]) -> str:
    rows = ((key, split, target) for key, (split, target) in found.items())
    return version_digest(task.config.kind, task.classes, rows)


def _certificate(folder: Path) -> dict[str, Any] | Fault:
    name = _CERTIFICATE.as_posix()
    try:
        content = json.loads((folder / _CERTIFICATE).read_text(encoding="utf-8"))
        seal = content.pop("seal")
    except FileNotFoundError:
        return Fault(name, "is missing")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return Fault(name, f"cannot be read: {error}")
    if seal != _seal(content) or content.get("format") != _FORMAT:
        return Fault(name, "was edited: its seal does not fit")
    return dict(content)


def _file_faults(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name, facts in files.items():
        if name not in present:
            yield Fault(name, "is missing")
        elif _sha256(present[name]) != facts["sha256"]:
            yield Fault(name, "was changed: its digest is not the certificate's")
    for name in sorted(present.keys() - files.keys()):
        yield Fault(name, "does not belong to the version")


def _files(folder: Path) -> list[Path]:
    """Every file but the certificate."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path != folder / _CERTIFICATE)


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
