from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import pytest
import torch

from goldloop.errors import TrainingError
from goldloop.inference import Predictor
from goldloop.training.run import Evaluated, Note, StepLogged, train


class Stop(Exception):
    pass


class Listener(list):
    """Keeps events; stops the run at the n-th if told to."""

    def __init__(self, stop_at: int | None = None, error: type[BaseException] = Stop) -> None:
        self.stop_at = stop_at
        self.error = error

    def __call__(self, event) -> None:
        self.append(event)
        if len(self) == self.stop_at:
            raise self.error

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def fit(tmp_path, cache):
    def fit(material, name, listener=None, splits=None, **fields):
        return train(
            material.task,
            material.config(**fields),
            splits or material.splits(),
            tmp_path / name,
            cache,
            {"name": "tiny", "version": "tiny@0"},
            listener if listener is not None else Listener(),
            checkpoint_seconds=0.0,
        )

    return fit


def weights(run) -> bytes:
    return (run.model / "model.safetensors").read_bytes()


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("samples_per_second", "speed")
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_it_learns_a_small_set_by_heart(kind, fit, request):
    material = request.getfixturevalue(kind)
    splits = {"train": material.rows, "validation": material.rows}
    run = fit(material, "run", splits=splits, epochs=60, learning_rate=1e-2, augment=False)
    assert run.value == 1.0
    predictor = Predictor.load(run.model)
    contents = [example.content or example.item.text for example in material.task.examples()]
    predicted = [prediction.target for prediction in predictor.predict(contents)]
    assert predicted == [example.target for example in material.task.examples()]


def test_a_run_tells_what_it_does_and_keeps_what_made_it(texts, fit, tmp_path):
    listener = Listener()
    run = fit(texts, "run", listener, epochs=5)
    logged, evaluated = listener.of(StepLogged), listener.of(Evaluated)
    assert [event.step for event in evaluated] == [3, 6, 9, 12, 15]
    assert [event.step for event in logged] == [3, 6, 9, 10, 12, 15]
    assert all(event.total == 15 for event in logged)
    assert logged[-1].epoch == 5
    assert run.value == max(event.metrics["accuracy"] for event in evaluated)
    assert run.metrics == next(e.metrics for e in evaluated if e.metrics["accuracy"] == run.value)
    assert (run.steps, run.epochs, run.chosen, run.metric) == (15, 5, "best", "accuracy")
    assert len(metrics(run.folder)) == len(logged) + len(evaluated)
    kept = json.loads((run.folder / "run.json").read_text())
    assert kept["facts"]["version"] == "tiny@0"
    assert kept["training"]["epochs"] == 5
    assert {"torch", "transformers", "goldloop"} <= kept["packages"].keys()
    assert kept["run"]["throughput"]["samples_per_second"] > 0
    assert kept["run"]["throughput"]["useful_token_share"] <= 1
    assert str(tmp_path) not in (run.folder / "run.json").read_text()
    assert "accuracy" in run.summary()


def test_a_finished_run_is_returned_and_not_trained_again(images, fit):
    first = fit(images, "run")
    listener = Listener()
    again = fit(images, "run", listener)
    assert again == first
    assert not listener


def test_a_folder_of_another_run_is_refused(images, fit):
    fit(images, "run")
    with pytest.raises(TrainingError, match="another configuration"):
        fit(images, "run", learning_rate=1e-4)


def test_a_checkpoint_of_another_run_is_refused(images, fit):
    with pytest.raises(Stop):
        fit(images, "run", Listener(stop_at=4))
    with pytest.raises(TrainingError, match="another configuration"):
        fit(images, "run", seed=5)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_two_runs_give_the_same_bytes(kind, fit, request):
    material = request.getfixturevalue(kind)
    assert weights(fit(material, "one")) == weights(fit(material, "two"))


@pytest.mark.parametrize("kind", ["images", "texts"])
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_a_run_stopped_anywhere_goes_on_to_the_same_bytes(kind, error, fit, request):
    material = request.getfixturevalue(kind)
    # Evaluations lie inside epochs and between readings of the loss; the best is not the last.
    fields = {"epochs": 8, "evaluate_every": 7, "learning_rate": 2e-2, "max_grad_norm": 1.0}
    listener = Listener()
    undisturbed = fit(material, "undisturbed", listener, **fields)
    for stop_at in range(1, len(listener) + 1, 2):
        name = f"stopped-{stop_at}"
        with pytest.raises(error):
            fit(material, name, Listener(stop_at, error), **fields)
        run = fit(material, name, **fields)
        assert weights(run) == weights(undisturbed), f"stopped at event {stop_at}"
        assert metrics(run.folder) == metrics(undisturbed.folder)
        assert (run.value, run.steps) == (undisturbed.value, undisturbed.steps)


def test_a_run_stopped_again_and_again_still_ends_the_same(texts, fit):
    fields = {"epochs": 8, "evaluate_every": 5}
    undisturbed = fit(texts, "undisturbed", **fields)
    stops = 0
    while True:
        try:
            run = fit(texts, "often", Listener(stop_at=5), **fields)
            break
        except Stop:
            stops += 1
    assert stops >= 3
    assert weights(run) == weights(undisturbed)


@pytest.fixture
def threads():
    """Compute in so many threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_run_goes_on_in_as_many_threads_as_it_began_in(texts, fit, threads):
    # How many threads add up a sum decides how it is rounded.
    fields = {"epochs": 24, "evaluate_every": 24}
    threads(1)
    undisturbed = fit(texts, "undisturbed", **fields)
    with pytest.raises(Stop):
        fit(texts, "stopped", Listener(stop_at=6), **fields)
    threads(3)
    seen = []
    run = fit(texts, "stopped", lambda event: seen.append(torch.get_num_threads()), **fields)
    assert set(seen[1:]) == {1}
    assert torch.get_num_threads() == 3
    assert weights(run) == weights(undisturbed)


def test_only_the_last_and_the_best_checkpoint_are_kept(images, fit, tmp_path):
    listener = Listener(stop_at=16)
    with pytest.raises(Stop):
        fit(images, "run", listener, epochs=12)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert len([name for name in names if name.startswith("step-")]) == 1
    assert 1 <= len([name for name in names if name.startswith("best-")]) <= 2
    assert len(names) <= 3
    run = fit(images, "run", epochs=12)
    assert not list((run.folder / "checkpoints").iterdir())


def test_no_pickle_is_written(images, fit, tmp_path):
    with pytest.raises(Stop):
        fit(images, "run", Listener(stop_at=6), epochs=8)
    found = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert found == {".safetensors", ".json", ".jsonl"}


def test_a_damaged_checkpoint_is_an_error_with_a_remedy(images, fit, tmp_path):
    with pytest.raises(Stop):
        fit(images, "run", Listener(stop_at=6), epochs=8)
    file = next((tmp_path / "run" / "checkpoints").glob("step-*/optimizer.safetensors"))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(TrainingError, match="Remove the folder"):
        fit(images, "run", epochs=8)


def test_it_stops_early_and_keeps_the_best(images, fit):
    listener = Listener()
    fields = {"epochs": 100, "learning_rate": 1e-9, "early_stopping": {"patience": 4}}
    run = fit(images, "run", listener, **fields)
    assert run.epochs == 5
    assert [event.best for event in listener.of(Evaluated)] == [True, False, False, False, False]
    assert any("stopped early" in note.text for note in listener.of(Note))
    assert run.chosen == "best"


def test_it_does_not_stop_while_the_learning_rate_warms_up(images, fit):
    stopping = {"learning_rate": 1e-9, "early_stopping": {"patience": 2}}
    run = fit(images, "run", epochs=10, warmup=0.5, **stopping)
    assert run.epochs == 7


def test_the_best_weights_are_kept_and_not_the_last(images, fit):
    def scored(*values: float):
        class Scored(type(images.task)):
            def score(self, predicted, expected):
                return {"accuracy": next(left)}

        left = iter(values)
        return type(images)(Scored(images.task.config), images.rows, images.network)

    short = fit(scored(0.1, 0.9), "short", schedule="constant", epochs=2)
    long = fit(scored(0.1, 0.9, 0.3, 0.2), "long", schedule="constant", epochs=4)
    assert weights(long) == weights(short)
    assert (long.value, long.steps) == (0.9, 12)


def test_without_validation_the_last_weights_are_kept(images, fit):
    listener = Listener()
    run = fit(images, "run", listener, splits={"train": images.rows, "validation": images.split(0, 0)})
    assert (run.chosen, run.value, run.metrics) == ("last", None, {})
    assert any("validation split is empty" in note.text for note in listener.of(Note))
    assert json.loads((run.folder / "run.json").read_text())["run"]["chosen"] == "last"
    assert Predictor.load(run.model)


def test_an_empty_training_split_is_refused(images, fit, tmp_path):
    with pytest.raises(TrainingError, match="nothing to train on"):
        fit(images, "run", splits={"train": images.split(0, 0), "validation": images.rows})
    assert not (tmp_path / "run").exists()


def test_a_class_without_examples_is_named(images, fit):
    listener = Listener()
    two = images.rows.filter(lambda row: row["label"] != 2)
    fit(images, "run", listener, splits={"train": two}, epochs=1)
    assert any("no training example of 'triangle'" in note.text for note in listener.of(Note))


def test_texts_that_were_cut_are_counted(texts, fit):
    listener = Listener()
    fit(texts, "run", listener, epochs=1, max_length=8)
    assert any(re.search(r"\d+ of 18 texts are longer than 8 tokens", note.text) for note in listener)


def test_answers_that_were_cut_are_counted(answers, fit):
    listener = Listener()
    fit(answers, "run", listener, epochs=1, max_length=16)
    said = r"\d of 6 texts are longer than 16 tokens, or their answers than 48, and were cut"
    assert any(re.search(said, note.text) for note in listener.of(Note))


def test_a_loss_that_is_no_number_names_its_items(images, fit, tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+: .*no number") as caught:
        fit(images, "run", epochs=30, learning_rate=1e30, max_grad_norm=None)
    named = set(re.findall(r"[0-9a-f]{64}", str(caught.value)))
    assert named
    assert named <= set(images.rows["key"])
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_poisoned_item_is_caught_in_its_own_batch(texts, fit):
    class Poisoned(type(texts.task)):
        def loss(self, outputs, batch, options=None):
            loss = super().loss(outputs, batch)
            return loss * float("nan") if poison in batch.keys else loss

    poison = texts.rows["key"][7]
    bad = type(texts)(Poisoned(texts.task.config), texts.rows, texts.network)
    with pytest.raises(TrainingError) as caught:
        fit(bad, "run")
    assert poison in str(caught.value)


def test_images_may_lie_in_files(images, fit, tmp_path):
    rows = list(images.rows.cast_column("image", datasets.Image(decode=False)))
    for row in rows:
        path = tmp_path / f"{row['key']}.png"
        path.write_bytes(row["image"]["bytes"])
        row["image"] = {"bytes": None, "path": str(path)}
    outside = datasets.Dataset.from_list(rows, features=images.rows.features)
    inside = fit(images, "inside", splits={"train": images.rows})
    assert weights(fit(images, "outside", splits={"train": outside})) == weights(inside)
