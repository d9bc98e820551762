from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from goldloop.errors import ModelError
from goldloop.registry.card import model_card, write_card


def test_a_card_has_the_facts_and_the_hubs_metadata(saved, report, passed, refused):
    text = model_card("mail/3", saved, report, [passed, refused])
    data = ModelCard(text).data
    assert data.pipeline_tag == "text-classification"
    assert data.base_model == "some-team/some-encoder"
    assert {result.metric_type for result in data.eval_results} == set(report.metrics)
    assert data.eval_results[0].dataset_name == report.version
    figure = report.metrics["accuracy"]
    assert f"{figure.value:.4f} | {figure.low:.4f} to {figure.high:.4f} |" in text
    for expected in (
        "# mail/3",
        "`mail@0123456789abcdef`",
        "billing, delivery, other",
        "**passed** at-least accuracy 0.5",
        "**refused** at-least accuracy 0.95",
        "On 30 items",
        "goldloop serve mail",
        'pipeline("text-classification", model="this/folder")',
    ):
        assert expected in text
    assert "{{" not in text
    assert "\n\n\n" not in text


def test_the_classes_that_a_model_misses_are_among_its_limits(saved, report):
    text = model_card("mail/3", saved, report)
    missed = [name for name, figures in report.per_class.items() if figures["recall"] < 1]
    assert missed
    for name in missed:
        assert f"Of class {name} it finds" in text
    assert "None were set." in text


def test_names_from_data_stay_words_in_a_card(saved, report, passed):
    nasty = "<script>|**x**"
    classes = (nasty, *report.classes[1:])
    changed = report.model_copy(update={"classes": classes})
    verdict = passed.model_copy(update={"explanation": "a\n## heading"})
    text = model_card("mail/3", saved, changed, [verdict], ("ada", "`why`"))
    assert r"\<script\>\|\*\*x\*\*" in text
    assert nasty not in text
    assert "\n## heading" not in text
    assert r"Promoted by ada in spite of its gates: \`why\`" in text


def test_a_card_is_written_whole_and_alone(tmp_path):
    write_card(tmp_path, "one")
    write_card(tmp_path, "two")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "two"


def test_a_folder_without_a_model_is_refused(tmp_path, report):
    with pytest.raises(ModelError, match="holds no model of goldloop's"):
        model_card("mail/3", tmp_path, report)


def test_a_card_does_not_tell_where_on_a_machine_the_checkpoint_lay(saved, report, tmp_path):
    import json
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    content = json.loads((folder / "goldloop.json").read_text())
    content["facts"]["recipe"]["training"]["checkpoint"] = "/home/ada/encoders/small"
    (folder / "goldloop.json").write_text(json.dumps(content))
    text = model_card("mail/3", folder, report)
    assert "starting from small." in text
    assert "/home/ada" not in text
