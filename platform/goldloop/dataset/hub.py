"""Versions on the Hugging Face Hub: `hf://datasets/USER/NAME`.

A version's folder has the layout of `push_to_hub`: a card whose head tells splits and features, and shards
named `data/<split>-00000-of-00002.parquet`. It is uploaded as it is, in one commit that also takes away the
files of the version before. The Hub knows files by content, so that only those it lacks travel. Each version
is tagged by the first digits of its digest: `datasets.load_dataset("USER/NAME", revision=TAG)` loads that one
for good.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from goldloop.dataset.certificate import CERTIFICATE
from goldloop.dataset.past import NAME_LENGTH
from goldloop.dataset.travel import Stored, files_of
from goldloop.errors import VersionError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX = "hf://datasets/"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_OURS = re.compile(r"README\.md|(data|goldloop)/.+")


class Hub:
    """A dataset repository.

    Args:
        url: `hf://datasets/USER/NAME`.
        api: how to reach the Hub; by default as `huggingface_hub` is configured, with its token.

    Raises:
        VersionError: it names no repository.
    """

    def __init__(self, url: str, api: HfApi | None = None) -> None:
        from huggingface_hub import HfApi

        self.repository = url.removeprefix(PREFIX).rstrip("/")
        if not url.startswith(PREFIX) or not _REPOSITORY.fullmatch(self.repository):
            raise VersionError("no dataset repository", found=url, expected=f"{PREFIX}USER/NAME")
        self._api = api or HfApi()

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}"

    def publish(self, name: str, digest: str, folder: Path) -> tuple[int, int]:
        """Make a version what the repository shows, and tag it; a repository that is new is private.

        Args:
            name: of the version.
            digest: the whole of it.
            folder: where it lies here; it holds.

        Returns:
            how many files the repository had not, and how many bytes those have.

        Raises:
            VersionError: the Hub cannot be reached, or refuses us.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        files = files_of(folder)
        with self._explained():
            self._api.create_repo(self.repository, repo_type="dataset", exist_ok=True, private=True)
            before = self._contents("main")
            gone = [path for path in before if _OURS.fullmatch(path) and path not in files]
            new = [stored for path, stored in files.items() if stored.sha256 not in before.values()]
            operations: list[Any] = [
                CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path in sorted(files)
            ]
            operations += [CommitOperationDelete(path_in_repo=path) for path in gone]
            done = self._api.create_commit(
                self.repository, operations, commit_message=f"{name}@{digest[:12]}", repo_type="dataset"
            )
            self._api.create_tag(
                self.repository,
                tag=digest[:NAME_LENGTH],
                revision=done.oid,
                repo_type="dataset",
                exist_ok=True,
            )
        return len(new), sum(stored.bytes for stored in new)

    def find(self, name: str, digest: str) -> str:
        """See `Place`; a repository holds the versions of one name."""
        import json

        with self._explained():
            tags = [tag.name for tag in self._api.list_repo_refs(self.repository, repo_type="dataset").tags]
        known = [tag for tag in tags if re.fullmatch(rf"[0-9a-f]{{{NAME_LENGTH}}}", tag)]
        short = digest[:NAME_LENGTH]
        found = ["main"] if digest == "latest" else [tag for tag in known if tag.startswith(short)]
        if len(found) != 1:
            raise VersionError(
                "several versions begin so" if found else "no such version is published here",
                where=f"{self} {name}@{digest}",
                found=", ".join(known) or "none",
                remedy="Publish it with `goldloop publish`",
            )
        whole = str(json.loads(self._text(CERTIFICATE, found[0]))["digest"])
        if digest != "latest" and not whole.startswith(digest):
            raise VersionError(
                "no such version is published here", where=f"{self} {name}@{digest}", found=whole
            )
        return whole

    def files(self, name: str, digest: str) -> Mapping[str, Stored]:
        """See `Place`."""
        import json

        told = json.loads(self._text(CERTIFICATE, digest[:NAME_LENGTH]))
        files = {path: Stored(facts["sha256"], facts["bytes"]) for path, facts in told["files"].items()}
        return {**files, CERTIFICATE: Stored("", 0)}

    def get(self, name: str, digest: str, path: str, stored: Stored, target: Path) -> None:
        """See `Place`."""
        self._download(path, digest[:NAME_LENGTH], target.parent, lambda found: shutil.move(found, target))

    def _contents(self, revision: str) -> dict[str, str]:
        """Path -> SHA-256 of the files that the Hub keeps by content; of others, nothing is known."""
        from huggingface_hub.hf_api import RepoFile

        tree = self._api.list_repo_tree(
            self.repository, recursive=True, revision=revision, repo_type="dataset", expand=False
        )
        files = [entry for entry in tree if isinstance(entry, RepoFile)]
        return {entry.path: entry.lfs.sha256 if entry.lfs is not None else "" for entry in files}

    def _text(self, path: str, revision: str) -> str:
        with TemporaryDirectory() as folder:
            kept: list[str] = []
            self._download(
                path, revision, Path(folder), lambda found: kept.append(Path(found).read_text("utf-8"))
            )
            return kept[0]

    def _download(self, path: str, revision: str, beside: Path, use: Callable[[str], Any]) -> None:
        with self._explained(), TemporaryDirectory(dir=beside, prefix=".hub-") as folder:
            use(
                self._api.hf_hub_download(
                    self.repository, path, repo_type="dataset", revision=revision, local_dir=folder
                )
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        # Of the HTTP library that the client uses, which is not always the same one.
        no_answer: type[Exception] = next(
            base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"
        )
        try:
            yield
        except (OSError, no_answer, HFValidationError, RuntimeError) as error:
            # What the Hub refuses, and being offline, are OSErrors; an upload that fails is a RuntimeError.
            raise VersionError(
                "the Hub cannot be reached, or refuses",
                where=str(self),
                found=" ".join(str(error).split())[:500] or type(error).__name__,
                remedy="Check the network, HF_HUB_OFFLINE and HF_TOKEN, and that the repository is yours",
            ) from error
