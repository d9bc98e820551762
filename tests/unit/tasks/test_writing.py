import pytest
import torch

from goldloop.errors import ModelError
from goldloop.inference import Predictor, save_model
from goldloop.tasks import tasks
from goldloop.tasks._generation import plain, token_loss
from goldloop.tasks._writing import Written, predictions, write

KINDS = ("text-generation", "image-captioning")


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    """A task, a model that has learned its examples by heart, and the examples."""
    task = tasks.create(tasks.get(request.param).example_config())
    torch.manual_seed(0)
    model, examples = task.example_model(), task.examples()
    rows = [
        {"key": one.item.key, task.modality: one.content or one.item.text, "answer": one.target}
        for one in examples
    ]
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    model.network.train()
    for _ in range(60):
        task.loss(model.network(**task.training_inputs(batch)), batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.network.eval()
    return task, model, examples, batch


def test_what_was_written_is_as_likely_as_training_would_find_it(trained):
    task, model, examples, batch = trained
    with torch.inference_mode():
        written = write(model, batch.inputs)
        logits, labels = model.network(**task.training_inputs(batch)).logits, batch.targets["labels"]
    known = [row for row, one in enumerate(examples) if written.texts[row] == one.target]

    assert known
    for row in known:
        loss = token_loss(logits[row : row + 1], labels[row : row + 1], 0.0).item()
        assert written.log_probabilities[row] == pytest.approx(-loss, abs=1e-3)


def test_writing_takes_the_likeliest_token_whatever_the_checkpoint_prefers(trained, tmp_path):
    task, model, _, batch = trained
    with torch.inference_mode():
        before = write(model, batch.inputs)
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 5.0, "num_beams": 3, "repetition_penalty": 9.0, "min_length": 9}'
    )

    loaded = task.model(tmp_path, settings=model.settings)
    loaded.network.eval()
    with torch.inference_mode():
        after = [write(loaded, batch.inputs).texts for _ in range(2)]

    assert after == [before.texts, before.texts]


def test_no_text_is_longer_than_what_is_asked_for(trained):
    _, model, _, batch = trained
    settings = {**model.settings, "max_new_tokens": 2}
    with torch.inference_mode():
        written = write(type(model)(model.network, model.processor, settings), batch.inputs)

    tokenizer = getattr(model.processor, "tokenizer", model.processor)
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in written.texts]
    assert max(lengths) == 2


def test_a_predictor_reads_the_saved_model_and_answers_item_by_item(trained, tmp_path):
    task, model, examples, batch = trained
    save_model(tmp_path / "model", task, model, {})
    contents = [one.content or one.item.text for one in examples]
    with torch.inference_mode():
        expected = task.predict(model, write(model, batch.inputs))

    predictor = Predictor.load(tmp_path / "model", device="cpu")
    together, parted = predictor.predict(contents), predictor.predict(contents, batch_size=2)

    assert [one.target for one in together] == [one.target for one in expected]
    assert [one.target for one in parted] == [one.target for one in expected]
    for one, other in zip(parted, expected, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_a_network_that_answers_with_no_numbers_is_refused(trained):
    task, model, _, batch = trained
    network = plain(model.network)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    try:
        with torch.inference_mode(), pytest.raises(ModelError, match="something other than numbers"):
            task.predict(model, write(model, batch.inputs))
    finally:
        network.load_state_dict(kept)


def test_a_text_is_as_sure_as_its_tokens_were_likely_on_average():
    found = predictions(Written(["one", "two", ""], [-0.6931471805599453, 1e-9, -1e9]))

    assert [one.confidence for one in found] == [pytest.approx(0.5), 1.0, 0.0]
    assert [one.target for one in found] == ["one", "two", ""]
