from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from goldloop.formats.base import Sample
from goldloop.records import Quarantined

REAL = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


@pytest.fixture
def real_data():
    """The folder of real data sets beside the repository."""
    if not REAL.is_dir():
        pytest.skip("there is no ../shared/data")
    return REAL


@pytest.fixture
def task_of():
    """What a format asks of a task: its kind, classes and keypoints."""

    def make(kind, classes, keypoints=()):
        config = SimpleNamespace(kind=kind, keypoints=tuple(keypoints))
        return SimpleNamespace(config=config, classes=tuple(classes))

    return make


@pytest.fixture
def picture():
    """The bytes of an image."""

    def make(width=64, height=48, shade=0, orientation=None, form="PNG"):
        buffer = io.BytesIO()
        image = Image.new("RGB", (width, height), (shade, shade, shade))
        exif = Image.Exif()
        if orientation is not None:
            exif[0x0112] = orientation
        image.save(buffer, format=form, exif=exif)
        return buffer.getvalue()

    return make


@pytest.fixture
def there_and_back(tmp_path):
    """Write samples and read them again: name's stem -> sample."""

    def go(form, task, samples, folder="out"):
        form.write(tmp_path / folder, task, samples)
        found = list(form.read(tmp_path / folder, task.config.kind))
        assert not [entry for entry in found if isinstance(entry, Quarantined)]
        return {Path(entry.name).stem: entry for entry in found if isinstance(entry, Sample)}

    return go


@pytest.fixture
def parted():
    """Samples and quarantined entries of a reading."""

    def part(entries):
        entries = list(entries)
        good = [entry for entry in entries if isinstance(entry, Sample)]
        return good, [entry for entry in entries if isinstance(entry, Quarantined)]

    return part
