import datasets
import pytest

from goldloop.errors import ModelError
from goldloop.inference import Predictor
from goldloop.tasks import tasks
from goldloop.training.config import TrainingConfig
from goldloop.training.run import train

DECODER = {
    "model_type": "gpt2",
    "n_embd": 32,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 160,
    "vocab_size": 320,
}


class Stop(Exception):
    pass


@pytest.fixture
def fit(tmp_path):
    task = tasks.create(tasks.get("text-generation").example_config())
    rows = [{"key": one.item.key, "text": one.item.text, "answer": one.target} for one in task.examples()]
    features = datasets.Features({**task.features(), "key": datasets.Value("string")})
    split = datasets.Dataset.from_list(rows, features=features)

    def fit(name, stop_at=None, **fields):
        seen = []

        def listen(event):
            seen.append(event)
            if len(seen) == stop_at:
                raise Stop

        config = TrainingConfig.model_validate(
            {
                "checkpoint": {"from-config": DECODER},
                "batch_size": 4,
                "epochs": 4,
                "learning_rate": 2e-2,
                "precision": "no",
                "early_stopping": None,
                "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
                **fields,
            }
        )
        splits = {"train": split, "validation": split}
        folder, cache = tmp_path / name, tmp_path / "cache"
        return train(task, config, splits, folder, cache, {}, listen, checkpoint_seconds=0.0), len(seen)

    return fit


def weights(run):
    return (run.model / "model.safetensors").read_bytes()


def test_a_run_with_lora_that_was_stopped_goes_on_to_the_same_bytes(fit):
    undisturbed, events = fit("undisturbed")

    for stop_at in (2, events // 2, events - 1):
        name = f"stopped-{stop_at}"
        with pytest.raises(Stop):
            fit(name, stop_at)
        run, _ = fit(name)
        assert weights(run) == weights(undisturbed)
        assert run.value == undisturbed.value


def test_a_run_with_lora_ends_with_an_ordinary_model_that_answers(fit):
    run, _ = fit("run")

    predictions = Predictor.load(run.model).predict(["The parcel came two days late.", ""])

    assert all(isinstance(one.target, str) and 0 <= one.confidence <= 1 for one in predictions)
    assert b"lora" not in weights(run)


def test_an_image_classifier_with_lora_is_refused():
    task = tasks.create(tasks.get("image-classification").example_config())
    settings = TrainingConfig.model_validate({"checkpoint": "a/b", "lora": {"rank": 4}}).model_settings()

    with pytest.raises(ModelError, match="lora"):
        task.model({"from-config": task.small_network}, settings=settings)
