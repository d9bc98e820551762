from pyarrow import parquet

from goldloop.dataset import shards
from goldloop.dataset.certificate import verify


def test_shards_and_row_groups_are_bounded_and_load_as_one(make_images, monkeypatch):
    whole = make_images("whole").commit()
    material = make_images("parts")
    sizes = [material.media.path(item).stat().st_size for item in material.items.values()]
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * max(sizes))
    monkeypatch.setattr(shards, "GROUP_BYTES", 2 * max(sizes))
    parts = material.commit()
    assert parts.digest == whole.digest
    written = sorted((parts.folder / "data").glob("train-*"))
    assert len(written) > 1
    assert [path.name for path in written] == [
        f"train-{number:05}-of-{len(written):05}.parquet" for number in range(len(written))
    ]
    for path in written:
        with parquet.ParquetFile(path) as file:
            assert file.metadata.num_row_groups > 1
    assert parts.dataset("train").to_list() == whole.dataset("train").to_list()
    assert verify(parts.folder) == []


def test_a_row_group_has_at_most_a_thousand_rows(make_texts):
    version = make_texts(count=1_400).commit()
    with parquet.ParquetFile(version.folder / "data" / "train-00000-of-00001.parquet") as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    assert max(groups) == 1_000
    assert sum(groups) == version.counts["train"]
