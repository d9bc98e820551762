from __future__ import annotations

from pathlib import Path

import pytest

from goldloop.connectors import connectors
from goldloop.connectors.base import Found, Kept, NothingKnown
from goldloop.errors import SourceError
from goldloop.records import Item, Quarantined


def _text_page(words: str) -> bytes:
    content = f"BT /F1 24 Tf 20 100 Td ({words}) Tj ET".encode()
    return b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content)


def _pdf(*pages: str) -> bytes:
    """A PDF by hand, a page with each text."""
    numbers = range(4, 4 + 2 * len(pages), 2)
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for number, words in zip(numbers, pages, strict=True):
        objects[number] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % (number + 1)
        )
        objects[number + 1] = _text_page(words)
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in sorted(objects.items()):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


ENCRYPTED = (
    b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    b"2 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\n"
    b"endobj\n3 0 obj\n<< /Filter /Standard /V 1 /R 2 /P -64 /O <"
    + b"28" * 32
    + b"> /U <"
    + b"5a" * 32
    + b"> >>\n"
    b"endobj\ntrailer << /Size 4 /Root 1 0 R /Encrypt 3 0 R /ID [<00><00>] >>\nstartxref\n0\n%%EOF\n"
)


def _read(folder: Path, known=None, **fields) -> list[Found | Kept]:
    section = {"kind": "documents", "url": str(folder), **fields}
    return list(connectors.create(section).read(known or NothingKnown()))


def test_each_page_is_an_image_with_its_text_and_stays_with_its_document(tmp_path):
    (tmp_path / "letter.pdf").write_bytes(_pdf("Dear Ann", "Yours, Bob"))
    one, two = (each.entry for each in _read(tmp_path, dpi=144))
    assert [one.uri, two.uri] == [f"{tmp_path}/letter.pdf#page={page}" for page in (1, 2)]
    assert (one.width, one.height, one.media_type) == (600, 400, "image/png")
    assert one.metadata == {"page": 1, "pages": 2, "page_text": "Dear Ann"}
    assert one.group == two.group == f"{tmp_path}/letter.pdf"
    assert one.key != two.key


def test_pages_are_texts_if_so_asked_and_one_without_is_quarantined(tmp_path):
    (tmp_path / "letter.pdf").write_bytes(_pdf("Dear Ann", ""))
    one, two = (each.entry for each in _read(tmp_path, content="text"))
    assert one.text == "Dear Ann"
    assert isinstance(two, Quarantined)
    assert "empty" in two.reason


def test_the_fields_of_a_page_can_be_filtered_and_grouped_by(tmp_path):
    (tmp_path / "letter.pdf").write_bytes(_pdf("a", "b", "c"))
    found = [each.entry for each in _read(tmp_path, filter="page in [1, pages]", group="str(page)")]
    assert [(entry.metadata["page"], entry.group) for entry in found] == [(1, "1"), (3, "3")]


@pytest.mark.parametrize(
    ("content", "said"), [(b"%PDF-1.7 and no more", "broken"), (b"", "broken"), (ENCRYPTED, "encrypted")]
)
def test_a_broken_or_encrypted_document_is_quarantined_and_the_rest_goes_on(tmp_path, content, said):
    (tmp_path / "a.pdf").write_bytes(content)
    (tmp_path / "b.pdf").write_bytes(_pdf("fine"))
    bad, good = (each.entry for each in _read(tmp_path))
    assert isinstance(good, Item)
    assert bad.uri == f"{tmp_path}/a.pdf"
    assert said in bad.reason


def test_a_wrong_password_is_told_apart_from_none_and_neither_is_shown(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(ENCRYPTED)
    monkeypatch.setenv("LETTERS_PASSWORD", "hush-hush")
    (found,) = _read(tmp_path, password_from="LETTERS_PASSWORD")
    assert "a wrong password" in found.entry.reason
    assert "hush" not in found.entry.reason


def test_pages_and_documents_that_are_too_large_are_quarantined(tmp_path):
    (tmp_path / "a.pdf").write_bytes(_pdf("fine"))
    assert "at most 0.01 megapixels" in _read(tmp_path, max_megapixels=0.01)[0].entry.reason
    assert "max_megabytes" in _read(tmp_path, max_megabytes=0.0001)[0].entry.reason


def test_a_document_that_has_not_changed_is_not_rendered_again(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.pdf").write_bytes(_pdf(name, name * 2))
    marks = {each.part: each.mark for each in _read(tmp_path)}

    class _Before:
        bookmark = None

        def unchanged(self, asked, *, many=False):
            return {part for part, mark in asked.items() if many and marks[part] == mark}

    (tmp_path / "b.pdf").write_bytes(_pdf("other words"))
    kept, anew = _read(tmp_path, _Before())
    assert kept == Kept(f"{tmp_path}/a.pdf", marks[f"{tmp_path}/a.pdf"], many=True)
    assert anew.entry.metadata["page_text"] == "other words"


def test_a_folder_without_documents_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no document"):
        _read(tmp_path)
