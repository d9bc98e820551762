import pytest
import torch
from safetensors.torch import load_file

from goldloop.errors import ModelError, RecipeError
from goldloop.tasks import tasks
from goldloop.tasks._texts import learn_tokenizer
from goldloop.tasks.base import LossOptions

DECODER = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "vocab_size": 320,
}
ENCODER_DECODER = {
    "model_type": "bart",
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "dropout": 0.0,
    "max_position_embeddings": 128,
    "vocab_size": 320,
}
LORA = {"rank": 8, "alpha": 16, "dropout": 0.0, "targets": "all-linear"}


def task_of(**fields):
    return tasks.create({"kind": "text-generation", "max_new_tokens": 48, **fields})


def model_of(task, described, **settings):
    torch.manual_seed(0)
    texts = [text for example in task.examples() for text in (example.item.text, example.target)]
    return task.model({"from-config": described}, texts=texts, settings=settings)


def rows_of(task):
    return [{"key": one.item.key, "text": one.item.text, "answer": one.target} for one in task.examples()]


def train(task, model, rows, steps, rate=5e-3):
    batch = task.batch(task.prepare(model, rows), model)
    trained = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    model.network.train()
    for _ in range(steps):
        task.loss(model.network(**task.training_inputs(batch)), batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.network.eval()


def answers(task, model, rows):
    with torch.inference_mode():
        return task.predict(model, task.outputs(model, task.batch(task.prepare(model, rows), model)))


@pytest.mark.parametrize("described", [DECODER, ENCODER_DECODER], ids=["decoder", "encoder-decoder"])
def test_a_network_learns_to_write_its_examples_to_the_character(described):
    task = task_of()
    model, rows = model_of(task, described), rows_of(task)

    train(task, model, rows, 150)
    predictions = answers(task, model, rows)

    assert [one.target for one in predictions] == [row["answer"] for row in rows]
    assert all(one.confidence > 0.5 for one in predictions)


def test_what_was_learned_beats_copying_the_input():
    task = task_of()
    words = ["Apple", "Brot", "été", "東京", "κόσμος", "zebra"]
    rows = [{"key": f"{a}{b}", "text": f"{a} {b}", "answer": f"{b}, {a}"} for a in words for b in words]
    held_out, rows = rows[::5], [row for number, row in enumerate(rows) if number % 5]
    torch.manual_seed(0)
    model = task.model({"from-config": DECODER}, texts=words * 3)
    expected = [row["answer"] for row in held_out]

    train(task, model, rows, 250, 3e-3)
    learned = task.score([one.target for one in answers(task, model, held_out)], expected)
    copied = task.score([row["text"] for row in held_out], expected)

    assert learned["rouge_l"] > copied["rouge_l"]
    assert learned["exact_match"] > copied["exact_match"]


def test_the_loss_of_a_batch_is_the_mean_of_its_examples_losses():
    task = task_of()
    for described in (DECODER, ENCODER_DECODER):
        model, rows = model_of(task, described), rows_of(task)
        model.network.eval()

        def loss_of(chosen, model=model):
            batch = task.batch(task.prepare(model, chosen), model)
            return task.loss(
                model.network(**task.training_inputs(batch)), batch, LossOptions(label_smoothing=0.1)
            ).item()

        assert loss_of(rows) == pytest.approx(sum(loss_of([row]) for row in rows) / len(rows), rel=1e-5)


def test_an_answer_ends_with_the_token_that_ends_a_text():
    task = task_of()
    model = model_of(task, DECODER)

    prepared = task.prepare(model, rows_of(task))

    assert all(row["labels"][-1] == model.processor.eos_token_id for row in prepared)
    assert all(
        model.processor.eos_token_id not in row["input_ids"] for row in prepared if row["input_ids"].size
    )


def test_a_text_that_is_too_long_loses_its_end_and_the_prompt_stays():
    task = task_of(prompt="Text: {text}\nSummary:", max_new_tokens=8)
    model = model_of(task, DECODER, max_length=32)
    row = {"key": "a", "text": "beginning " + "word " * 100, "answer": "an answer that is too long " * 4}

    [prepared] = task.prepare(model, [row])
    read = model.processor.decode(prepared["input_ids"])

    assert len(prepared["input_ids"]) <= 32
    assert read.startswith("Text: beginning")
    assert read.endswith("\nSummary:")
    assert len(prepared["labels"]) == 8
    assert prepared["truncated_tokens"] > 100


def test_a_prompt_without_a_place_for_the_text_is_refused():
    with pytest.raises(RecipeError, match="prompt"):
        task_of(prompt="Summarize")


def test_a_prompt_that_leaves_no_room_for_the_text_is_refused():
    task = task_of(prompt="An instruction that fills all the room there is: {text}\nSummary:")

    with pytest.raises(ModelError, match="no room for a text"):
        model_of(task, DECODER, max_length=16)


def test_a_network_with_too_few_positions_is_refused():
    task = task_of(max_new_tokens=128)

    with pytest.raises(ModelError, match="at most 128 tokens"):
        model_of(task, DECODER)


def test_a_network_without_a_head_that_writes_is_refused():
    with pytest.raises(ModelError, match="does not do this task"):
        model_of(task_of(), {"model_type": "vit"})


def test_every_text_comes_back_from_a_learned_tokenizer_as_it_was():
    texts = ["Ünïcode  Two\r\n\ttabs", "[EOS] said [PAD]", "שלום e\u0301 \U0001d4b3 👩‍👩‍👧", " x ", ""]
    tokenizer = learn_tokenizer(["Some texts to learn from"], 300, reversible=True)

    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert ids.count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("described", [DECODER, ENCODER_DECODER], ids=["decoder", "encoder-decoder"])
def test_lora_trains_its_adapters_alone_and_is_saved_as_an_ordinary_checkpoint(described, tmp_path):
    task = task_of()
    model, rows = model_of(task, described, lora=LORA), rows_of(task)
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}

    train(task, model, rows, 20, 2e-2)

    changed = {name for name, tensor in model.network.state_dict().items() if not tensor.equal(before[name])}
    trained = {name for name, part in model.network.named_parameters() if part.requires_grad}
    assert changed == trained
    assert all(".lora_" in name for name in changed)
    model.network.save_pretrained(tmp_path, state_dict=model.network.state_dict())
    model.processor.save_pretrained(tmp_path)
    assert not any("lora" in name for name in load_file(tmp_path / "model.safetensors"))
    assert not list(tmp_path.glob("adapter*"))
    loaded = task.model(tmp_path, settings=model.settings)
    loaded.network.eval()
    for one, other in zip(answers(task, model, rows), answers(task, loaded, rows), strict=True):
        assert one.target == other.target
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_lora_saves_the_weights_that_it_is_given_and_not_those_it_has(tmp_path):
    task = task_of()
    model, rows = model_of(task, DECODER, lora=LORA), rows_of(task)
    kept = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    before = answers(task, model, rows)

    train(task, model, rows, 20, 2e-2)
    model.network.save_pretrained(tmp_path, state_dict=kept)
    model.processor.save_pretrained(tmp_path)

    loaded = task.model(tmp_path, settings=model.settings)
    loaded.network.eval()
    assert [one.target for one in answers(task, loaded, rows)] == [one.target for one in before]
    assert [one.target for one in answers(task, model, rows)] != [one.target for one in before]


def test_lora_in_a_last_layer_that_shares_the_embeddings_is_saved_as_it_answers(tmp_path):
    task = task_of()
    described = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 160}
    model = model_of(task, {**described, "vocab_size": 320}, lora={**LORA, "targets": ["lm_head"]})
    rows = rows_of(task)

    train(task, model, rows, 20, 2e-2)
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    loaded = task.model(tmp_path, settings=model.settings)
    loaded.network.eval()
    for one, other in zip(answers(task, model, rows), answers(task, loaded, rows), strict=True):
        assert one.target == other.target
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_what_lora_saves_is_read_by_transformers_alone(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    task = task_of()
    model, rows = model_of(task, DECODER, lora=LORA), rows_of(task)
    train(task, model, rows, 60, 2e-2)
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    network = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for row, prediction in zip(rows, answers(task, model, rows), strict=True):
        prompt = torch.as_tensor(task.prepare(model, [row])[0]["input_ids"])[None]
        written = network.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=48)
        assert tokenizer.decode(written[0, prompt.shape[1] :], skip_special_tokens=True) == prediction.target


def test_lora_in_layers_that_the_network_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(ModelError, match="q_proj"):
        model_of(task_of(), DECODER, lora={**LORA, "targets": ["nowhere"]})


def test_a_setting_that_means_nothing_is_refused():
    with pytest.raises(ModelError, match="image_size"):
        model_of(task_of(), DECODER, image_size=32)
