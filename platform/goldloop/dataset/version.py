"""Dataset versions: immutable folders, each an ordinary Hugging Face dataset that proves itself.

    <workspace>/versions/NAME/
      log.jsonl                 the commits, oldest first: what is listed is what is here
      tags.jsonl                names that people gave to some of them
      <digest, 16 digits>/
        README.md               the dataset card; tells `datasets.load_dataset` where the splits are
        data/<split>-....parquet
        goldloop/version.json   what it is        goldloop/ledger-....arrow   one outcome per item
        goldloop/manifest.json  its files         goldloop/answers-....parquet
        goldloop/reviewed.parquet                 what came of items that were sent back, where any were
        goldloop/certificate.json                 what was checked, and the digest of every file

A commit writes what changed: its rows, its lines of the ledger, its answers, each into a file of its own. All
other files a version shares with the one before, by hard links: they never change. So a version's folder is
whole by itself, can be copied away or deleted, and costs the disk what is new in it.

A version is written aside, flushed and renamed; only then is it listed. A kill at any moment leaves what was
listed as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goldloop.dataset import history
from goldloop.dataset.certificate import DESCRIPTION
from goldloop.dataset.certificate import figures as certified
from goldloop.dataset.ledger import Ledger
from goldloop.dataset.manifest import FORMAT, Manifest
from goldloop.dataset.past import NAME_LENGTH
from goldloop.dataset.reading import content_of, open_split, sample_of
from goldloop.dataset.tags import resolve
from goldloop.errors import VersionError
from goldloop.tasks import tasks

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, slots=True)
class Version:
    """One dataset version.

    Attributes:
        name: the recipe's.
        digest: of content, labels, splits and classes (see `digest.py`).
        folder: where it lies.
        classes: names in id order.
        counts: rows per split.
        task: the task's section of the recipe, its classes those of the registry.
        agreement: mean pairwise agreement over items with two answers or more, in [0, 1]; None without.
        created_at: when it was first committed, ISO 8601, UTC.
        message: what its committer said.
        parent: digest of the version before it.
        split: how the recipe split it: shares, seed, policy.
        class_counts: split -> class -> rows; empty for a task whose answer is not one class.
        policies: all that its rows were placed by, in the order in which they came (see `policies.py`).
        duplicates: what counted as a near-duplicate, `near` or `exact`; None: none were looked for.
    """

    name: str
    digest: str
    folder: Path
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    task: Mapping[str, Any]
    agreement: float | None
    created_at: str
    message: str | None = None
    parent: str | None = None
    split: Mapping[str, Any] = field(default_factory=dict)
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    policies: Sequence[Mapping[str, Any]] = ()
    duplicates: str | None = None

    @property
    def ref(self) -> str:
        """`NAME@DIGEST`, short."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def cache(self) -> Path:
        """What the workspace keeps that can be made again."""
        return self.folder.parents[2] / "cache"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": self.ref, **asdict(self), "folder": str(self.folder)}

    def labelling(self) -> dict[str, Any]:
        """How it was labelled, as its certificate says."""
        content = certified(self.folder)
        names = ("agreement", "annotators", "provenance", "shown_models", "reviewed", "outside")
        return {name: content[name] for name in names if name in content}

    def ledger(self) -> Ledger:
        """What became of every item that it considered."""
        return Ledger([self.folder / part.path for part in Manifest.load(self.folder).ledger])

    def dataset(self, split: str) -> datasets.Dataset:
        """The rows of a split by key, images as the bytes of their files; empty if it has none."""
        return open_split(self.folder, tasks.create(self.task), split, self.cache / "arrow")

    def content(self, number: int) -> bytes | str | None:
        """The image or text of the row with a number; None if there is no such row."""
        return content_of(self.folder, tasks.create(self.task).modality, number)

    def sample(self, split: str, count: int) -> datasets.Dataset:
        """Some rows of a split, the longest texts among them; nothing is written."""
        return sample_of(self.folder, tasks.create(self.task), split, count)


def load(root: Path, name: str, digest: str = "latest") -> Version:
    """A version by its digest, the beginning of it, or a tag; `latest` is the one committed last.

    Raises:
        VersionError: there is none, or several begin so, or it cannot be read.
    """
    known = [commit.digest for commit in _listed(root / name)]
    return _read(root / name, resolve(root / name, known, digest))


def find(root: Path, reference: str) -> Version:
    """The version that `NAME` (the latest), `NAME@DIGEST` or `NAME@TAG` means.

    Raises:
        VersionError: as `load`.
    """
    name, _, digest = reference.partition("@")
    return load(root, name, digest or "latest")


def versions(root: Path, name: str) -> list[Version]:
    """The commits of a name, oldest first; a version that was committed again stands there again.

    One whose folder was deleted is left out.

    Raises:
        VersionError: one of them cannot be read.
    """
    return [_read(root / name, commit.digest) for commit in _listed(root / name)]


def names(root: Path) -> list[str]:
    """Names that have versions."""
    return sorted(path.parent.name for path in root.glob(f"*/{history.LOG}"))


def version_in(folder: Path) -> Version:
    """The version that lies in a folder.

    Raises:
        VersionError: it cannot be read.
    """
    try:
        digest = str(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the version cannot be read",
            where=folder / DESCRIPTION,
            found=str(error),
            remedy="Bring the folder back from a copy, or delete it",
        ) from error
    return _read(folder.parent, digest)


def _listed(folder: Path) -> list[history.Commit]:
    return [each for each in history.commits(folder) if (folder / each.digest[:NAME_LENGTH]).exists()]


def _read(parent: Path, digest: str) -> Version:
    folder = parent / digest[:NAME_LENGTH]
    path = folder / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        del fields["goldloop"]
        if fields.pop("format", 1) != FORMAT:
            raise ValueError("an earlier goldloop wrote it, in a form that this one does not read")
        if fields["digest"] != digest:
            raise ValueError(f"it says that it is {fields['digest']}")
        return Version(**{**fields, "folder": folder, "classes": tuple(fields["classes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VersionError(
            "the version cannot be read",
            where=path,
            found=str(error) or type(error).__name__,
            remedy="Bring the folder back from a copy; `goldloop commit` makes it again from the same labels",
        ) from error
