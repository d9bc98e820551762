import pytest
import torch

from goldloop.errors import ModelError
from goldloop.tasks import tasks
from goldloop.tasks._generation import IGNORED

torch.set_num_threads(2)

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {**TINY, "image_size": 32, "patch_size": 16}
GIT = {
    "model_type": "git",
    **TINY,
    "hidden_dropout_prob": 0.0,
    "max_position_embeddings": 64,
    "vocab_size": 300,
    "vision_config": VISION,
}
BLIP = {
    "model_type": "blip",
    "text_config": {**TINY, "vocab_size": 300, "hidden_dropout_prob": 0.0, "max_position_embeddings": 64},
    "vision_config": VISION,
}


def task_of(**fields):
    return tasks.create({"kind": "image-captioning", "max_new_tokens": 40, **fields})


def rows_of(task):
    return [{"key": one.item.key, "image": one.content, "answer": one.target} for one in task.examples()]


def model_of(task, described, **settings):
    torch.manual_seed(0)
    texts = [example.target for example in task.examples()]
    return task.model({"from-config": described}, texts=texts, settings=settings)


@pytest.mark.parametrize("described", [GIT, BLIP], ids=["git", "blip"])
@pytest.mark.parametrize("prompt", ["", "This is "], ids=["no prompt", "a prompt"])
def test_a_network_learns_to_write_what_it_sees(described, prompt):
    task = task_of(prompt=prompt)
    model, rows = model_of(task, described), rows_of(task)
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    model.network.train()
    for _ in range(100):
        task.loss(model.network(**task.training_inputs(batch)), batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.network.eval()

    with torch.inference_mode():
        written = [one.target for one in task.predict(model, task.outputs(model, batch))]

    expected = [row["answer"] for row in rows]
    one_for_all = max(task.score([text] * len(rows), expected)["rouge_l"] for text in expected)
    assert task.score(written, expected)["rouge_l"] > one_for_all


def test_the_prompt_is_read_and_not_learned():
    task = task_of(prompt="This is ")
    model, rows = model_of(task, GIT), rows_of(task)

    batch = task.batch(task.prepare(model, rows), model)

    opening = batch.inputs["input_ids"][0].tolist()
    assert model.processor.tokenizer.decode(opening[1:]) == "This is "
    for ids, labels in zip(batch.targets["inputs"]["input_ids"], batch.targets["labels"], strict=True):
        assert ids[: len(opening)].tolist() == opening
        assert (labels[: len(opening) - 1] == IGNORED).all()


def test_a_tokenizer_is_learned_from_the_captions():
    import datasets

    task = task_of()
    rows = datasets.Dataset.from_list([{"answer": row["answer"]} for row in rows_of(task)])

    assert task.training_texts(rows) == [row["answer"] for row in rows_of(task)]


def test_a_network_with_too_few_positions_is_refused():
    with pytest.raises(ModelError, match="at most 64"):
        model_of(task_of(max_new_tokens=64), GIT)


def test_a_network_of_another_kind_is_refused_with_those_that_do():
    with pytest.raises(ModelError, match="git, blip"):
        model_of(task_of(), {"model_type": "resnet"})
