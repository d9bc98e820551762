import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldloop.tasks import tasks
from goldloop.tasks._generation import IGNORED, continued_targets, prompt_ids, rectangle, token_loss

DECODER = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 320,
}
IDS = st.lists(st.integers(1, 99), min_size=1, max_size=20)


def model_of(prompt="{text}", length=40):
    task = tasks.create({"kind": "text-generation", "max_new_tokens": 48, "prompt": prompt})
    texts = [text for example in task.examples() for text in (example.item.text, example.target)]
    torch.manual_seed(0)
    return task, task.model({"from-config": DECODER}, texts=texts, settings={"max_length": length})


@given(st.lists(IDS, min_size=1, max_size=5), st.booleans())
@settings(deadline=None, max_examples=100)
def test_a_rectangle_holds_every_row_and_masks_its_filling(rows, left):
    ids, mask = rectangle(rows, 0, 20, left=left)

    assert ids.shape == mask.shape
    assert ids.shape[1] <= 20
    for row, kept, known in zip(rows, ids, mask, strict=True):
        assert kept[known.bool()].tolist() == row
        assert known.sum() == len(row)
        assert known[-1 if left else 0] == 1


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_a_decoder_learns_of_each_token_of_the_answer_what_stands_before_it(pairs):
    targets = continued_targets([prompt for prompt, _ in pairs], [answer for _, answer in pairs], 0, 40)

    for (prompt, answer), ids, labels in zip(
        pairs, targets["inputs"]["input_ids"], targets["labels"], strict=True
    ):
        places = (labels != IGNORED).nonzero().flatten().tolist()
        assert places == list(range(len(prompt) - 1, len(prompt) - 1 + len(answer)))
        assert labels[places].tolist() == answer
        assert ids[: len(prompt) + len(answer)].tolist() == [*prompt, *answer]
        assert labels[places[:-1]].tolist() == ids[[place + 1 for place in places[:-1]]].tolist()


def test_what_is_said_about_the_prompt_has_no_effect_on_the_loss():
    task, model = model_of(prompt="Text: {text}\nSummary:")
    rows = [{"text": one.item.text, "answer": one.target} for one in task.examples()]
    prepared = task.prepare(model, rows)
    batch = task.batch(prepared, model)
    logits = model.network(**task.training_inputs(batch)).logits.detach().requires_grad_()

    token_loss(logits, batch.targets["labels"], 0.1).backward()

    for row, change in zip(prepared, logits.grad, strict=True):
        prompt, answer = len(row["input_ids"]), len(row["labels"])
        learned = (change.abs().sum(-1) > 0).nonzero().flatten().tolist()
        assert learned == list(range(prompt - 1, prompt + answer - 1))


def test_the_loss_is_the_mean_of_the_answers_negative_log_probabilities():
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[IGNORED, 3, 1], [IGNORED, IGNORED, 6]])
    likely = logits.log_softmax(-1)

    expected = -((likely[0, 3, 3] + likely[0, 4, 1]) / 2 + likely[1, 4, 6]) / 2

    assert token_loss(logits, labels, 0.0).item() == pytest.approx(expected.item(), rel=1e-5)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@settings(deadline=None, max_examples=50)
def test_a_prompt_is_whole_or_cut_to_the_room_with_the_words_around_it(text):
    _, model = SHARED
    [(ids, cut)] = prompt_ids(model, [text])
    whole = model.processor(f"<{text}>\n=", add_special_tokens=False)["input_ids"]
    read = model.processor.decode(ids, clean_up_tokenization_spaces=False)

    assert len(ids) <= 40
    assert len(ids) + cut == len(whole)
    assert read.startswith("<")
    assert read.endswith(">\n=")
    assert cut > 0 or read == f"<{text}>\n="


SHARED = model_of(prompt="<{text}>\n=")
