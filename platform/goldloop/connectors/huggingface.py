"""`kind: huggingface`: a split of a dataset on the Hub or in a local folder, streamed by `datasets`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field
from typing_extensions import override

from goldloop.connectors._content import printable, without_secrets
from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import Location, folder_at, listing_digest, locate
from goldloop.connectors._row_items import Candidate, RowsConfig, RowsConnector
from goldloop.connectors.base import Found, Kept, Known
from goldloop.errors import SourceError


class Huggingface(RowsConnector):
    """One item per row; class ids of `ClassLabel` columns come as their names.

    A branch or tag is resolved to its commit at each pull, and rows are read again only once that has moved;
    an item's metadata have it as `revision`. Credentials: `HF_TOKEN`, or `hf auth login`.
    """

    class Config(RowsConfig):
        """What a recipe says of it."""

        dataset: str = Field(min_length=1)
        """`organization/name` on the Hub, or a local folder of data files or of `save_to_disk`."""
        subset: str | None = None
        """The dataset's configuration, where it has several."""
        split: str = "train"
        revision: str | None = None
        """A commit, a branch or a tag of a dataset on the Hub; by default its main branch."""
        id: str | None = None
        """A column that tells rows apart; by default their number, from 0."""

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        rows = [{"text": "one"}, {"text": "two"}, {"text": " "}]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "train.jsonl").write_text(lines, encoding="utf-8")
        return {"kind": "huggingface", "dataset": str(folder), "text": "text"}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        yield from islice(self._rows(known), self.config.limit)

    @override
    def fingerprint(self) -> str:
        return self._state()[1]

    @property
    def _local(self) -> Path | None:
        folder = Path(self.config.dataset)
        return folder if folder.exists() else None

    def _state(self) -> tuple[str | None, str]:
        """The commit of a dataset on the Hub, and what changes when the dataset does."""
        if self._local is not None:
            return None, listing_digest(locate(str(self._local.absolute())).walk())
        commit = self._commit()
        return commit, commit

    def _commit(self) -> str:
        """The commit that the revision means.

        Raises:
            SourceError: offline, no such dataset, or none that we may read.
        """
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        config = self.config
        where = f"hub dataset {config.dataset}"
        if constants.HF_HUB_OFFLINE:
            raise SourceError(
                "the Hub may not be asked, as HF_HUB_OFFLINE is set",
                where=where,
                expected="a local folder, or the Hub within reach",
                remedy="Unset HF_HUB_OFFLINE, or name the folder of a copy: `dataset: FOLDER`",
            )
        try:
            commit = HfApi().dataset_info(config.dataset, revision=config.revision).sha
        except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
            raise SourceError(
                "the dataset cannot be found on the Hub",
                where=where,
                found=without_secrets(str(error).strip().splitlines()[0])[:300],
                remedy="Check its name and revision, HF_TOKEN for one that is private, and the network; "
                "a local folder is looked for first",
            ) from error
        if commit is None:
            raise SourceError("the Hub tells no commit of the dataset", where=where)
        return commit

    def _rows(self, known: Known) -> Iterator[Found | Kept]:
        commit, mark = self._state()
        address = self._address()
        self.more_metadata = {} if commit is None else {"revision": commit}
        rows = self._dataset(commit, address)
        columns = list(rows.features or next(iter(rows), {}))
        self.check_columns(columns, address)
        names = _class_names(rows.features or {})
        seen = Distinct() if self.config.id is not None else None
        shards = max(rows.num_shards, 1)
        empty = True
        for shard in range(shards):
            part = address if shards == 1 else f"{address}#shard-{shard}"
            if self.config.limit is None and known.unchanged({part: mark}, many=True):
                empty = False
                yield Kept(part, mark, many=True)
                continue
            of_shard = rows if shards == 1 else rows.shard(num_shards=shards, index=shard)
            prefix = "" if shards == 1 else f"{shard}-"
            candidates = self._candidates(of_shard, names, address, prefix, seen)
            found: Iterator[Found] = (
                (self.found(row, part, mark) for row in candidates)
                if self.config.image is None
                else self.found_by_threads(candidates, self._beside(commit), part, mark)
            )
            for each in found:
                empty = False
                yield each
        if empty:
            raise SourceError("the dataset has no rows that the filter takes", where=address)

    def _candidates(
        self, rows: Any, names: Mapping[str, Any], address: str, prefix: str, seen: Distinct | None
    ) -> Iterator[Candidate]:
        for number, row in enumerate(rows):
            values = _with_names(row, names)
            if seen is None:
                found = self.candidate(f"{address}#{prefix}{number}", number, values)
            else:
                found = self.named(values, self.config.id, address, f"row-{prefix}{number}", number, seen)
            if found is not None:
                yield found

    def _beside(self, commit: str | None) -> Location:
        if self._local is not None:
            return folder_at(str(self._local.absolute()))
        return folder_at(f"hf://datasets/{self.config.dataset}@{commit}")

    def _address(self) -> str:
        config = self.config
        place = str(self._local.absolute()) if self._local is not None else f"hf://datasets/{config.dataset}"
        return printable(f"{place}/{config.subset or 'default'}/{config.split}")

    def _dataset(self, commit: str | None, address: str) -> Any:
        """The split, streamed; images stay the bytes that they are.

        Raises:
            SourceError: no such configuration or split, or one that cannot be read.
        """
        import datasets

        config = self.config
        try:
            if self._local is not None and _is_saved(self._local):
                saved = datasets.load_from_disk(str(self._local))
                found = saved[config.split] if isinstance(saved, datasets.DatasetDict) else saved
                rows = found.to_iterable_dataset()
            else:
                rows = datasets.load_dataset(
                    config.dataset if self._local is None else str(self._local),
                    config.subset,
                    split=config.split,
                    revision=commit,
                    streaming=True,
                )
            if config.image is not None and isinstance(
                (rows.features or {}).get(config.image), datasets.Image
            ):
                rows = rows.cast_column(config.image, datasets.Image(decode=False))
        except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            said = str(error).strip().splitlines()
            raise SourceError(
                "the dataset cannot be read",
                where=address,
                found=without_secrets(said[0])[:300] if said else type(error).__name__,
                remedy="Check `subset:` and `split:`; tar shards are read by `kind: webdataset`",
            ) from error
        return rows


def _is_saved(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("dataset_info.json", "dataset_dict.json"))


def _class_names(features: Mapping[str, Any]) -> dict[str, Any]:
    """Column -> the ClassLabel whose ids it holds, one or a list of them."""
    import datasets

    found = {}
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature)
        if isinstance(inner, datasets.ClassLabel):
            found[column] = inner
    return found


def _with_names(values: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(values)
    for column, classes in names.items():
        value = row.get(column)
        if isinstance(value, list):
            row[column] = [classes.int2str(each) for each in value]
        elif isinstance(value, int) and value >= 0:
            row[column] = classes.int2str(value)
        else:
            # -1 stands for a label that is not known.
            row[column] = None
    return row
