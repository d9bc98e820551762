"""A report that must not tell of an item any more keeps its figures."""

from __future__ import annotations

import base64
import json

from goldloop.evaluation.erasure import reports_with, rewrite_without
from goldloop.evaluation.gates.base import Verdict
from goldloop.evaluation.report import PAGE_FILE, Report


def _saved(make_report, folder):
    report = make_report(0.6, items=40)
    wrong = report.wrong()[0].key
    verdict = Verdict(gate="at-least", passed=False, figure=0.6, explanation="too low", examples=(wrong,))
    texts = {item.key: f"the words of {item.key}" for item in report.items}
    report.save(folder, [verdict], texts.get)
    return report, wrong, texts


def test_what_is_told_of_an_item_goes_and_the_figures_stay(make_report, tmp_path):
    report, wrong, texts = _saved(make_report, tmp_path / "a" / "report")
    make_report(0.6, items=40, labels=1).save(tmp_path / "other")
    assert texts[wrong] in (tmp_path / "a" / "report" / PAGE_FILE).read_text()
    assert list(reports_with(tmp_path / "a", wrong)) == [tmp_path / "a" / "report"]
    rewrite_without(tmp_path / "a" / "report", wrong, texts.get)
    again = Report.load(tmp_path / "a" / "report")
    assert again.metrics == report.metrics
    assert again.confusion == report.confusion
    assert [item.key for item in again.items] == [item.key for item in report.items if item.key != wrong]
    assert list(reports_with(tmp_path / "a", wrong)) == []
    page = (tmp_path / "a" / "report" / PAGE_FILE).read_text()
    assert texts[wrong] not in page
    assert wrong not in page
    assert texts[report.wrong()[1].key] in page
    (said,) = json.loads((tmp_path / "a" / "report" / "verdicts.json").read_text())
    assert (said["explanation"], said["examples"]) == ("too low", [])
    assert "too low" in page


def test_a_picture_goes_with_its_item(make_report, tmp_path):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (9, 200, 30)).save(buffer, format="PNG")
    report = make_report(0.5, items=10)
    wrong = report.wrong()[0].key
    report.save(tmp_path / "report", (), {wrong: buffer.getvalue()}.get)
    page = (tmp_path / "report" / PAGE_FILE).read_text()
    shown = [part.partition('"')[0] for part in page.split("data:image/jpeg;base64,")[1:]]
    assert len(shown) == 1
    assert base64.b64decode(shown[0])
    rewrite_without(tmp_path / "report", wrong)
    assert shown[0] not in (tmp_path / "report" / PAGE_FILE).read_text()


def test_what_a_killed_process_left_beside_a_report_goes_too(make_report, tmp_path):
    _, wrong, texts = _saved(make_report, tmp_path / "report")
    (tmp_path / ".report.77.former").mkdir()
    (tmp_path / ".report.77.former" / "report.html").write_text(texts[wrong])
    rewrite_without(tmp_path / "report", wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
