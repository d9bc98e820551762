from __future__ import annotations

import pytest
import torch

from goldloop.errors import ModelError
from goldloop.tasks import tasks

TINY = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}


@pytest.fixture
def task():
    return tasks.create(tasks.get("image-multilabel").example_config())


def test_the_network_says_that_it_decides_each_class_by_itself(task, tmp_path):
    model = task.example_model()
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    loaded = task.model(tmp_path, settings=model.settings)

    for network in (model.network, loaded.network):
        assert network.config.problem_type == "multi_label_classification"


def test_a_classifier_of_single_classes_is_a_checkpoint_to_start_from(task, tmp_path):
    single = tasks.create({"kind": "image-classification", "classes": ["cat", "dog"]})
    trained = single.model({"from-config": TINY}, settings={"image_size": 32})
    trained.network.save_pretrained(tmp_path)
    trained.processor.save_pretrained(tmp_path)

    model = task.model(tmp_path)

    assert model.network.config.problem_type == "multi_label_classification"
    assert tuple(model.network.config.id2label.values()) == task.classes
    name = "resnet.embedder.embedder.convolution.weight"
    assert torch.equal(model.network.state_dict()[name], trained.network.state_dict()[name])


def test_a_setting_that_images_do_not_have_is_refused(task):
    with pytest.raises(ModelError, match="max_length"):
        task.model({"from-config": TINY}, settings={"max_length": 5})


def test_an_image_needs_an_address(task):
    with pytest.raises(ValueError, match="address"):
        task.task_data(task.examples()[0].item, None)


def test_examples_include_an_image_of_no_class(task):
    assert task.examples()[0].target == []
    assert {name for example in task.examples() for name in example.target} == set(task.classes)
