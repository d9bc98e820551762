import json

import pytest
import torch

from goldloop.errors import ModelError
from goldloop.tasks._checkpoints import folder_of, fresh_config, fresh_network, read_network

HEAD = "AutoModelForImageClassification"
TINY = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}


def make(classes, **fields):
    return fresh_network(HEAD, fresh_config({"from-config": {**TINY, **fields}}, classes))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    make(["a", "b"]).save_pretrained(tmp_path)
    return tmp_path


def head(network):
    return network.classifier[1].weight.detach()


def body(network):
    return {name: value for name, value in network.state_dict().items() if name.startswith("resnet.")}


def test_a_network_is_for_the_task_s_classes_in_their_order():
    network = make(["yes", "no"])

    assert network.config.id2label == {0: "yes", 1: "no"}
    assert network.config.label2id == {"yes": 0, "no": 1}
    assert head(network).shape[0] == 2
    assert head(network).dtype == torch.float32


def test_the_seed_decides_the_weights():
    networks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        networks.append(head(make(["a", "b"])))

    assert torch.equal(networks[0], networks[1])
    assert not torch.equal(networks[0], networks[2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "rezzznet"}, "unknown model type"),
        ({"model_type": "resnets"}, "Did you mean 'resnet'"),
        ({"model_type": None}, "unknown model type"),
        ({"hiden_sizes": [8]}, "Did you mean 'hidden_sizes'"),
        ({"hidden_sizes": "wide"}, "cannot be made"),
        ({"hidden_sizes": [8, 16], "depths": []}, "cannot be made"),
    ],
)
def test_a_configuration_that_makes_no_network_is_told(fields, message):
    with pytest.raises(ModelError, match=message) as caught:
        make(["a", "b"], **fields)

    assert len(str(caught.value)) < 600


def test_a_model_type_of_another_task_is_refused():
    with pytest.raises(ModelError, match="does not do this task"):
        fresh_network(HEAD, fresh_config({"from-config": {"model_type": "bert"}}, ["a", "b"]))


def test_a_finished_model_is_read_as_it_was(folder):
    network = read_network(HEAD, folder, ["a", "b"], exact=True)
    again = read_network(HEAD, folder, ["a", "b"], exact=True)

    assert torch.equal(head(network), head(again))
    assert str(folder) not in json.dumps(network.config.to_dict())


@pytest.mark.parametrize("classes", [["b", "a"], ["a", "c"], ["a", "b", "c"]])
def test_a_finished_model_of_other_classes_is_refused(folder, classes):
    with pytest.raises(ModelError, match="other classes"):
        read_network(HEAD, folder, classes, exact=True)


@pytest.mark.parametrize("classes", [["b", "a"], ["a", "c"], ["a", "b", "c"]])
def test_a_head_for_other_classes_is_replaced_and_the_rest_is_kept(folder, classes, capfd):
    trained = read_network(HEAD, folder, ["a", "b"], exact=True)
    capfd.readouterr()

    torch.manual_seed(5)
    network = read_network(HEAD, folder, classes, exact=False)

    assert tuple(network.config.id2label.values()) == tuple(classes)
    assert head(network).shape[0] == len(classes)
    assert not torch.equal(head(network)[:2], head(trained))
    assert all(torch.equal(value, body(trained)[name]) for name, value in body(network).items())
    torch.manual_seed(5)
    assert torch.equal(head(network), head(read_network(HEAD, folder, classes, exact=False)))
    assert capfd.readouterr() == ("", "")


def test_a_head_for_the_same_classes_is_kept(folder):
    trained = read_network(HEAD, folder, ["a", "b"], exact=True)

    assert torch.equal(head(read_network(HEAD, folder, ["a", "b"], exact=False)), head(trained))


def test_half_precision_checkpoints_are_read_in_single_precision(tmp_path):
    make(["a", "b"]).half().save_pretrained(tmp_path)

    network = read_network(HEAD, tmp_path, ["a", "b"], exact=True)

    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_pickles_are_never_read(folder):
    weights = folder / "model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    weights.unlink()

    with pytest.raises(ModelError, match=r"no safetensors.*pytorch_model\.bin"):
        read_network(HEAD, folder, ["a", "b"], exact=False)


def test_a_checkpoint_s_own_code_is_never_run(folder):
    (folder / "config.json").write_text(
        json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", HEAD: "mine.Mine"}})
    )
    (folder / "mine.py").write_text("raise SystemExit('the code was run')")

    with pytest.raises(ModelError):
        read_network(HEAD, folder, ["a", "b"], exact=False)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 100])
def test_a_damaged_checkpoint_is_told(folder, file, content):
    (folder / file).write_bytes(content)

    with pytest.raises(ModelError):
        read_network(HEAD, folder, ["a", "b"], exact=False)


def test_a_body_that_does_not_fit_its_configuration_is_told(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_sizes": [8, 24]}))

    with pytest.raises(ModelError, match="do not fit"):
        read_network(HEAD, folder, ["a", "b"], exact=False)


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ModelError, match="no checkpoint"):
        read_network(HEAD, tmp_path, ["a", "b"], exact=False)


def test_a_folder_is_its_own_folder(tmp_path):
    assert folder_of(tmp_path) == tmp_path
    assert folder_of(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "~/absent-checkpoint", "one/two/three"])
def test_a_path_that_leads_nowhere_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        folder_of(name)


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/nothing@v1", "not a name!"])
def test_a_hub_id_that_cannot_be_had_offline_says_what_to_do(name, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    capfd.readouterr()

    with pytest.raises(ModelError, match="offline, give a local folder"):
        folder_of(name)

    assert capfd.readouterr() == ("", "")
