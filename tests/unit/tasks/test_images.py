import io
import json

import numpy
import pytest
import torch
from PIL import Image

from goldloop.errors import ItemError, ModelError
from goldloop.tasks._images import (
    ImageProcessor,
    decode_upright,
    image_model,
    normalize_pixels,
    prepare_image,
    upright_size,
)

PROCESSOR = ImageProcessor(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
FAMILIES = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "vit": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "patch_size": 8,
    },
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
}


def tiny(kind, **fields):
    return {"from-config": {"model_type": kind, **FAMILIES[kind], **fields}}


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def halves(mode="RGB", size=(40, 40), left="red", right="blue"):
    picture = Image.new(mode, size, right)
    picture.paste(left, (0, 0, size[0] // 2, size[1]))
    return picture


def test_a_picture_is_turned_upright_by_its_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the stored left is the top of the scene's right
    stored = encoded(halves(), "JPEG", exif=exif, quality=95)

    pixels = prepare_image(stored, PROCESSOR)

    assert pixels[0, 4].float().mean() > 200  # red at the top
    assert pixels[2, -4].float().mean() > 200  # blue at the bottom


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_picture_is_its_size_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(halves(size=(40, 20)), "JPEG", exif=exif)

    assert upright_size(stored) == decode_upright(stored, 64).size
    assert upright_size(stored) == ((40, 20) if orientation < 5 else (20, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bytes_and_an_opened_picture_are_turned_alike_and_the_picture_stays_as_it_is(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(halves(size=(40, 20)), "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(stored)) as opened:
        before = opened.copy()
        from_picture = decode_upright(opened, 20)
        assert opened.size == before.size == (40, 20)
        assert opened.tobytes() == before.tobytes()
    from_bytes = decode_upright(stored, 20)
    assert from_bytes.size == from_picture.size
    assert from_bytes.tobytes() == from_picture.tobytes()


def test_what_is_no_image_has_no_size():
    with pytest.raises(ItemError):
        upright_size(b"not an image")


def test_transparent_parts_are_white_as_annotators_see_them():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))

    assert prepare_image(encoded(clear), PROCESSOR).min() == 255


def test_sixteen_bit_greys_keep_their_shades():
    shades = Image.fromarray(numpy.full((8, 8), 128 * 257, dtype=numpy.uint16))

    assert prepare_image(encoded(shades), PROCESSOR).float().mean() == pytest.approx(128, abs=1)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "PNG"),
        ("1", "PNG"),
        ("P", "GIF"),
        ("LA", "PNG"),
        ("CMYK", "JPEG"),
        ("RGB", "BMP"),
        ("RGB", "WEBP"),
    ],
)
def test_every_usual_mode_becomes_rgb(mode, kind):
    pixels = prepare_image(encoded(Image.new("RGB", (20, 10), "gray").convert(mode), kind), PROCESSOR)

    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8


def test_bytes_a_datasets_row_a_path_and_a_picture_are_prepared_alike(tmp_path):
    content = encoded(halves())
    (tmp_path / "a.png").write_bytes(content)
    forms = [
        content,
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(tmp_path / "a.png")},
        Image.open(io.BytesIO(content)),
    ]

    first, *others = [prepare_image(form, PROCESSOR) for form in forms]

    assert all(torch.equal(first, other) for other in others)


def test_up_to_four_to_three_the_whole_square_is_picture():
    pixels = prepare_image(encoded(Image.new("RGB", (400, 300), "red")), PROCESSOR)

    assert (pixels[0] == 255).all()
    assert (pixels[1:] == 0).all()


@pytest.mark.parametrize("size", [(400, 100), (100, 400)])
def test_a_longer_picture_is_padded_with_what_normalises_to_nothing(size):
    pixels = prepare_image(encoded(Image.new("RGB", size, "red")), PROCESSOR)
    pixels = pixels if size[0] > size[1] else pixels.transpose(1, 2)

    # 4:1 squeezed by 4:3 fills a third of the square: 11 of 32 rows, 10 above and 11 below.
    assert (pixels[0, 10:21] == 255).all()
    assert (pixels[:, :10] == 128).all()
    assert (pixels[:, 21:] == 128).all()
    assert normalize_pixels(pixels[None], PROCESSOR)[0, :, 0, 0].abs().max() < 0.01


def test_a_picture_of_one_pixel_and_one_of_a_line_are_prepared():
    assert (prepare_image(encoded(Image.new("RGB", (1, 1), "red")), PROCESSOR)[0] == 255).all()
    assert prepare_image(encoded(Image.new("RGB", (3000, 1), "red")), PROCESSOR).shape == (3, 32, 32)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size():
    large = encoded(halves(size=(1600, 1200)), "JPEG", quality=95)

    assert decode_upright(large, 32).width < 1600
    assert decode_upright(large, 32).height >= 64


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", encoded(halves())[:60], encoded(halves(size=(400, 400)), "JPEG")[:900], None, 7],
    ids=["empty", "text", "truncated png", "truncated jpeg", "nothing", "a number"],
)
def test_what_is_no_whole_image_is_told(content):
    with pytest.raises(ItemError, match="cannot be decoded"):
        prepare_image(content, PROCESSOR)


def test_a_picture_made_to_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(ItemError, match="cannot be decoded"):
        prepare_image(encoded(halves()), PROCESSOR)


def test_normalised_pixels_have_the_mean_and_deviation_of_the_processor():
    pixels = torch.tensor([0, 127.5, 255]).repeat(1, 3, 3, 1).to(torch.float32)

    values = normalize_pixels(pixels, PROCESSOR)

    assert values[0, 0, 0].tolist() == pytest.approx([-2, 0, 2])


def test_normalising_after_inference_mode_still_trains():
    with torch.inference_mode():
        normalize_pixels(torch.zeros(1, 3, 4, 4), ImageProcessor(4, (0.1, 0.2, 0.3), (1, 1, 1)))
    weight = torch.ones(1, requires_grad=True)

    values = normalize_pixels(torch.zeros(1, 3, 4, 4), ImageProcessor(4, (0.1, 0.2, 0.3), (1, 1, 1)))
    (values * weight).sum().backward()

    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_trains_from_a_configuration_and_comes_back_from_its_folder(kind, tmp_path):
    torch.manual_seed(0)
    model = image_model(tiny(kind), ["a", "b", "c"], {"image_size": 32})
    pixels = normalize_pixels(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), model.processor)
    with torch.no_grad():
        before = model.network.eval()(pixel_values=pixels).logits
    model.network.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)

    loaded = image_model(tmp_path, ["a", "b", "c"], model.settings)

    assert before.shape == (2, 3)
    assert loaded.network.config.id2label == {0: "a", 1: "b", 2: "c"}
    with torch.no_grad():
        assert torch.equal(loaded.network.eval()(pixel_values=pixels).logits, before)


def test_transformers_reads_the_saved_image_settings(tmp_path):
    from transformers import ViTImageProcessor

    PROCESSOR.save_pretrained(tmp_path)
    picture = halves(size=(32, 32))

    theirs = ViTImageProcessor.from_pretrained(tmp_path)(picture, return_tensors="pt")["pixel_values"]

    ours = normalize_pixels(prepare_image(encoded(picture), PROCESSOR)[None], PROCESSOR)
    assert torch.allclose(theirs, ours, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        ({"size": 40}, 40),
        ({"size": {"shortest_edge": 48}}, 48),
        ({"size": {"height": 56, "width": 56}}, 56),
        (
            {
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 64, "width": 64},
                "do_center_crop": True,
            },
            64,
        ),
        ({}, 224),
    ],
)
def test_image_settings_are_read_in_each_form_that_checkpoints_have(tmp_path, content, size):
    image_model(tiny("resnet"), ["a", "b"], None).network.save_pretrained(tmp_path)
    content = {**content, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))

    settings = image_model(tmp_path, ["a", "b"], None).settings

    assert settings["image_size"] == size
    assert settings["mean"] == [0.1, 0.2, 0.3]
    assert settings["std"] == [0.4, 0.5, 0.6]


def test_a_mean_that_a_checkpoint_does_not_use_is_not_used(tmp_path):
    image_model(tiny("resnet"), ["a", "b"], None).network.save_pretrained(tmp_path)
    content = {"do_normalize": False, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))

    model = image_model(tmp_path, ["a", "b"], None)

    pixels = torch.full((1, 3, 4, 4), 51, dtype=torch.uint8)
    assert normalize_pixels(pixels, model.processor) == pytest.approx(0.2)


def test_unreadable_image_settings_are_told(tmp_path):
    image_model(tiny("resnet"), ["a", "b"], None).network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")

    with pytest.raises(ModelError, match="cannot be read"):
        image_model(tmp_path, ["a", "b"], None)


def test_a_network_of_one_size_refuses_another(tmp_path):
    model = image_model(tiny("vit", image_size=32), ["a", "b"], None)
    model.network.save_pretrained(tmp_path)

    assert model.settings["image_size"] == 32
    with pytest.raises(ModelError, match="one size only"):
        image_model(tmp_path, ["a", "b"], {"image_size": 64})


def test_the_recipe_s_image_size_and_the_configuration_s_must_agree():
    with pytest.raises(ModelError, match="one size only"):
        image_model(tiny("vit", image_size=32), ["a", "b"], {"image_size": 64})


def test_grey_networks_and_text_settings_are_refused():
    with pytest.raises(ModelError, match="3 channels"):
        image_model(tiny("resnet", num_channels=1), ["a", "b"], None)
    with pytest.raises(ModelError, match="max_length"):
        image_model(tiny("resnet"), ["a", "b"], {"max_length": 64})
