from __future__ import annotations

import pytest

from goldloop.errors import ModelError
from goldloop.tasks import tasks


@pytest.fixture
def task():
    return tasks.create(tasks.get("text-multilabel").example_config())


def test_the_network_says_that_it_decides_each_class_by_itself(task, tmp_path):
    model = task.example_model()
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    loaded = task.model(tmp_path, settings=model.settings)

    for network in (model.network, loaded.network):
        assert network.config.problem_type == "multi_label_classification"
        assert network.config.num_labels == 3


def test_the_text_reaches_the_browser_as_a_text_and_not_as_an_address(task):
    assert 'valueType="text"' in task.label_config()


def test_what_does_not_fit_is_cut_off_and_counted(task):
    model = task.example_model()
    long = "billing " * 500

    (short, cut) = task.prepare(model, [{"text": "billing", "labels": [0]}, {"text": long, "labels": []}])

    assert short["truncated_tokens"] == 0
    assert len(cut["input_ids"]) == 64
    assert cut["truncated_tokens"] > 100


def test_a_setting_that_texts_do_not_have_is_refused(task):
    with pytest.raises(ModelError, match="image_size"):
        task.model({"from-config": {"model_type": "bert"}}, texts=["a"], settings={"image_size": 5})


def test_examples_include_a_text_of_no_class(task):
    assert task.examples()[0].target == []
    assert {name for example in task.examples() for name in example.target} == set(task.classes)


@pytest.mark.parametrize("kind", ["text-classification", "text-multilabel", "text-pairs", "text-similarity"])
def test_the_small_network_that_a_new_recipe_proposes_can_be_made(kind):
    task = tasks.create(tasks.get(kind).example_config())
    texts = [example.item.text for example in task.examples()]

    model = task.model({"from-config": dict(task.small_network)}, texts=texts, settings={"max_length": 64})

    assert model.network.config.hidden_size == 128
