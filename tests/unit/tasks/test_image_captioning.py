import pytest
import torch

from goldloop.errors import ModelError
from goldloop.tasks import tasks
from goldloop.tasks._generation import IGNORED
from goldloop.tasks._images import ImageProcessor
from goldloop.tasks._texts import learn_tokenizer

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {**TINY, "image_size": 32, "patch_size": 16}
GIT = {
    "model_type": "git",
    **TINY,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
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
    # A number of steps alone may end where the loss has just leapt, another on each machine.
    for _ in range(400):
        loss = task.loss(model.network(**task.training_inputs(batch)), batch)
        if loss.item() < 0.05:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.network.eval()

    with torch.inference_mode():
        written = [one.target for one in task.predict(model, task.outputs(model, batch))]

    expected = [row["answer"] for row in rows]
    one_for_all = max(task.score([text] * len(rows), expected)["rouge_l"] for text in expected)
    assert task.score(written, expected)["rouge_l"] > one_for_all


def encoder_decoder_folder(folder, texts):
    """A checkpoint of an encoder for images with a decoder for text, as transformers saves it."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    tokenizer = learn_tokenizer(texts, 300, reversible=True)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    reads = ViTConfig(**VISION, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    writes = GPT2Config(
        n_embd=32, n_layer=1, n_head=2, n_positions=64, vocab_size=len(tokenizer), **ids, **still
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(reads, writes)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    VisionEncoderDecoderModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ImageProcessor(32, (0.5,) * 3, (0.5,) * 3).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    # Adapters have little hold on fresh weights: they are made for trained ones.
    ("settings", "share"),
    [({}, 0.5), ({"lora": {"rank": 8, "alpha": 16}}, 0.95)],
    ids=["whole", "lora"],
)
def test_a_checkpoint_of_encoder_and_decoder_is_trained_saved_and_read_again(settings, share, tmp_path):
    task = task_of()
    rows = rows_of(task)
    torch.manual_seed(0)
    folder = encoder_decoder_folder(tmp_path / "checkpoint", [row["answer"] for row in rows])
    model = task.model(folder, settings=settings)
    batch = task.normalize(task.batch(task.prepare(model, rows), model), model)
    trained = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    model.network.train()
    losses = []
    for _ in range(60):
        loss = task.loss(model.network(**task.training_inputs(batch)), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.network.eval()
    model.network.save_pretrained(tmp_path / "saved")
    model.processor.save_pretrained(tmp_path / "saved")

    loaded = task.model(tmp_path / "saved", settings=model.settings)
    loaded.network.eval()

    assert losses[-1] < share * losses[0]
    assert batch.targets["inputs"]["decoder_input_ids"][:, 0].tolist() == [1] * len(rows)
    with torch.inference_mode():
        written = [task.predict(one, task.outputs(one, batch)) for one in (model, loaded)]
    for one, other in zip(*written, strict=True):
        assert one.target == other.target
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_the_prompt_is_read_and_not_learned():
    task = task_of(prompt="This is ")
    model, rows = model_of(task, GIT), rows_of(task)

    batch = task.batch(task.prepare(model, rows), model)

    opening = batch.inputs["input_ids"][0].tolist()
    assert model.processor.tokenizer.decode(opening[1:]) == "This is "
    for ids, labels in zip(batch.targets["inputs"]["input_ids"], batch.targets["labels"], strict=True):
        assert ids[: len(opening)].tolist() == opening
        assert (labels[: len(opening) - 1] == IGNORED).all()


def test_a_caption_that_is_too_long_loses_its_end_and_that_is_counted():
    task = task_of(max_new_tokens=8)
    model, rows = model_of(task, GIT), rows_of(task)

    for row, prepared in zip(rows, task.prepare(model, rows), strict=True):
        whole = model.processor.tokenizer(row["answer"])["input_ids"]
        assert prepared["labels"].tolist() == whole[:8]
        assert prepared["truncated_tokens"] == max(len(whole) - 8, 0)
    assert any(prepared["truncated_tokens"] for prepared in task.prepare(model, rows))


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
