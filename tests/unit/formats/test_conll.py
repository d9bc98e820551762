from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.formats import formats
from goldloop.formats.base import Sample
from goldloop.tasks import tasks

KIND = "token-classification"
CLASSES = ("creative-work", "person", "a class")


def span(text, start, end, label="person"):
    return {"label": label, "start": start, "end": end, "text": text[start:end]}


def read(folder, text, **options):
    (folder / "data.conll").write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(formats.create({"kind": "conll", **options}).read(folder, KIND))


def spans_of(folder, tags):
    (sample,) = read(folder, "".join(f"w{number}\t{tag}\n" for number, tag in enumerate(tags.split())))
    return [(each["label"], each["text"]) for each in sample.target]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-x I-x O", [("x", "w0 w1")]),
        ("B-x B-x I-x", [("x", "w0"), ("x", "w1 w2")]),
        ("I-x I-x O I-x", [("x", "w0 w1"), ("x", "w3")]),
        ("I-x B-x I-x", [("x", "w0"), ("x", "w1 w2")]),
        ("I-x I-y", [("x", "w0"), ("y", "w1")]),
        ("B-x I-y", [("x", "w0"), ("y", "w1")]),
        ("B-x I-x E-x S-x S-x O", [("x", "w0 w1 w2"), ("x", "w3"), ("x", "w4")]),
        ("B-x L-x U-x", [("x", "w0 w1"), ("x", "w2")]),
        ("E-x E-x", [("x", "w0"), ("x", "w1")]),
        ("O O", []),
    ],
)
def test_every_scheme_is_read(tmp_path, tags, expected):
    assert spans_of(tmp_path, tags) == expected


def test_columns_are_parted_by_tabs_or_blanks_and_chosen_by_number(tmp_path):
    text = "EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n"
    (sample,) = read(tmp_path, text)
    assert sample.content == "EU rejects"
    assert sample.target == [span("EU rejects", 0, 2, "ORG")]
    (sample,) = read(tmp_path, text, tag_column=2)
    assert [each["label"] for each in sample.target] == ["NP", "VP"]


def test_documents_comments_and_odd_blank_lines_are_no_sentences(tmp_path):
    text = "-DOCSTART- -X- O O\n\n# sent_id = 1\na O\n\t\n\n#\tO\r\nb\tB-x\r\n"
    assert [sample.content for sample in read(tmp_path, text)] == ["a", "# b"]


def test_signs_that_python_takes_for_line_ends_stay_in_their_word(tmp_path):
    (sample,) = read(tmp_path, "a\u2028b\tB-x\n\x85\tO\nc\u00a0d\tB-x\n")
    assert sample.content == "a\u2028b \x85 c\u00a0d"
    assert [each["text"] for each in sample.target] == ["a\u2028b", "c\u00a0d"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"word", "a token and its tag"),
        (b"word\tX-y", "unknown tag"),
        (b"w\xff\tO", "UTF-8"),
        (b"\tO", "token"),
    ],
)
def test_a_bad_line_keeps_its_sentence_out_and_no_other(tmp_path, parted, line, said):
    good, bad = parted(read(tmp_path, b"a\tO\n\nfirst\tO\n" + line + b"\nlast\tO\n\nb\tB-x\n"))
    assert [sample.content for sample in good] == ["a", "b"]
    (entry,) = bad
    assert entry.uri == "data.conll#line-3"
    assert entry.reason.startswith("data.conll, line 4: ")
    assert said in entry.reason


WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n \0"), min_size=1, max_size=6
).filter(lambda word: word != "-DOCSTART-")


@st.composite
def texts_with_spans(draw):
    words = draw(st.lists(WORDS, min_size=1, max_size=8))
    text = " ".join(words)
    starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
    spans, place = [], 0
    while place < len(words):
        length = draw(st.integers(0, len(words) - place))
        if length:
            last = place + length - 1
            label = draw(st.sampled_from(CLASSES))
            spans.append(span(text, starts[place], starts[last] + len(words[last]), label))
        place += max(length, 1)
    return text, spans


@settings(max_examples=150, deadline=None)
@given(st.lists(texts_with_spans(), min_size=1, max_size=4, unique_by=lambda drawn: drawn[0]))
def test_spans_of_whole_words_come_back_to_the_character(drawn):
    from types import SimpleNamespace

    task = SimpleNamespace(config=SimpleNamespace(kind=KIND), classes=CLASSES)
    form = formats.create({"kind": "conll"})
    samples = [
        Sample(name=str(number), content=text, target=spans) for number, (text, spans) in enumerate(drawn)
    ]
    samples = [sample for sample in samples if not form.losses(task, [sample])]
    with tempfile.TemporaryDirectory() as folder:
        form.write(Path(folder) / "out", task, samples)
        found = list(form.read(Path(folder) / "out", KIND)) if samples else []
    assert [(each.content, each.target) for each in found] == [
        (each.content, each.target) for each in samples
    ]


@pytest.mark.parametrize(
    ("text", "spans", "said"),
    [
        ("a  b", [], "blanks"),
        (" a", [], "blanks"),
        ("a\tb", [], "blanks"),
        ("a\nb", [], "blanks"),
        ("Obama's dog", [(0, 5)], "inside a word"),
        ("New York City", [(0, 8), (4, 13)], "overlap"),
        ("New York City", [(0, 13), (4, 8)], "overlap"),
        ("a b", [(0, 2)], "begin or end with a blank"),
        ("-DOCSTART-", [], "mark"),
        ("a b", [(0, 1), (2, 3)], None),
    ],
)
def test_what_the_format_cannot_hold_is_told(task_of, text, spans, said):
    sample = Sample(name="1", content=text, target=[span(text, *edges) for edges in spans])
    losses = formats.create({"kind": "conll"}).losses(task_of(KIND, CLASSES), [sample, sample])
    if said is None:
        assert losses == []
    else:
        (loss,) = losses
        assert said in loss
        assert loss.endswith("2 of 2 samples")


def test_a_span_inside_a_word_cuts_it_and_of_overlapping_ones_the_longest_stays(task_of, there_and_back):
    text = "Obama's New York City"
    spans = [span(text, 0, 5), span(text, 8, 16), span(text, 12, 21)]
    found = there_and_back(
        formats.create({"kind": "conll"}),
        task_of(KIND, CLASSES),
        [Sample(name="1", content=text, target=spans)],
    )
    (sample,) = found.values()
    assert sample.content == "Obama 's New York City"
    assert [each["text"] for each in sample.target] == ["Obama", "York City"]


def test_real_sentences_come_back_to_the_character(real_data, task_of, tmp_path):
    form = formats.create({"kind": "conll"})
    classes = form.task_fields(real_data / "wnut17", KIND)["classes"]
    samples = list(form.read(real_data / "wnut17", KIND))
    task = task_of(KIND, classes)

    assert len(samples) == 5690
    assert sum(len(sample.target) for sample in samples) == 3890
    assert form.losses(task, samples) == []
    form.write(tmp_path / "out", task, samples)
    again = list(form.read(tmp_path / "out", KIND))

    assert form.task_fields(tmp_path / "out", KIND)["classes"] == classes
    known = sorted(((each.split, each.content, each.target) for each in samples), key=repr)
    assert sorted(((each.split, each.content, each.target) for each in again), key=repr) == known


def test_a_carriage_return_parts_words_as_it_does_for_who_reads_the_file(tmp_path):
    text = "one\rLima\r\ntoday"
    task = tasks.create({"kind": KIND, "classes": list(CLASSES)})
    form = formats.create({"kind": "conll"})
    sample = Sample(name="a", content=text, target=[span(text, 4, 8)])
    assert form.losses(task, [sample]) == [
        "blanks in the text other than one between two words: 1 of 1 samples"
    ]
    form.write(tmp_path / "out", task, [sample])
    lines = (tmp_path / "out" / "all.conll").read_text(encoding="utf-8").splitlines()
    assert lines == ["one\tO", "Lima\tB-person", "today\tO", ""]
