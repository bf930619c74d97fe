"""Embedders by name, against the libraries' own preprocessing and forward passes."""

import shutil

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

import unembed
from unembed_image.codec import ImageCodec
from unembed_image.embedders.base import same_classes

from .conftest import pictures

PICTURES = pictures(5, size=224)
SIGNALS = ImageCodec(224).encode(PICTURES)


def load(name: str):
    return unembed.load_embedder(name, device="cpu")


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Files of random weights: a torchvision and a timm classifier, as their own code saves them."""
    folder = tmp_path_factory.mktemp("states")
    torch.manual_seed(0)
    made = {"squeezenet1_1": torchvision.models.get_model("squeezenet1_1"), "vit": None}
    made["vit"] = timm.create_model("test_vit", num_classes=1000)
    for name, model in made.items():
        torch.save(model.state_dict(), folder / f"{name}.pt")
    return folder, {name: model.eval() for name, model in made.items()}


def test_torchvision_probabilities_and_features_are_the_models_own(states) -> None:
    folder, models = states
    model, weights = models["squeezenet1_1"], f"weights={folder}/squeezenet1_1.pt"
    look = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.transforms()
    with torch.no_grad():
        exact = torchvision.transforms.functional.normalize(SIGNALS, look.mean, look.std)
        maps = model.features(exact)
        wanted = model(exact).softmax(-1)
    assert torch.allclose(load(f"probs:squeezenet1_1?{weights}").embed(SIGNALS), wanted, atol=1e-6)
    pooled = load(f"features:squeezenet1_1:features?{weights}")
    assert torch.allclose(pooled.embed(SIGNALS), maps.mean((2, 3)), atol=1e-5)
    spatial = load(f"features:squeezenet1_1:features?pool=none&{weights}")
    assert torch.allclose(spatial.embed(SIGNALS), maps.flatten(1), atol=1e-5)
    assert pooled.dimension == 512 and spatial.dimension == 512 * 13 * 13


def test_timm_features_are_the_models_own(states) -> None:
    folder, models = states
    box = load(f"features:timm/test_vit:blocks.1?weights={folder}/vit.pt")
    how = timm.data.resolve_model_data_config(models["vit"])
    look = timm.data.create_transform(**how, is_training=False)
    side = how["input_size"][1]
    images = [Image.fromarray(picture).resize((side, side)) for picture in PICTURES]
    inputs = torch.stack([look.transforms[-1](torchvision.transforms.functional.to_tensor(image)) for image in images])
    with torch.no_grad():
        ((tokens, prefix),) = models["vit"].forward_intermediates(
            inputs, indices=[1], output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
        )
    wanted = torch.cat([prefix, tokens], 1).mean(1)
    assert torch.allclose(box.embed(ImageCodec(side).encode(images)), wanted, atol=1e-5)


def test_clip_is_open_clips_own(clip_folder, tmp_path) -> None:
    box = load(f"clip:{clip_folder}")
    model, _, look = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    images = [Image.fromarray(picture).resize((32, 32)) for picture in PICTURES]
    with torch.no_grad():
        wanted = model.eval().encode_image(torch.stack([look(image) for image in images]), normalize=True)
    assert torch.allclose(box.embed(ImageCodec(32).encode(images)), wanted, atol=1e-5)
    assert box.normalized and box.dimension == 64


def test_a_clip_cut_into_files_is_the_whole_one(clip_folder, tmp_path) -> None:
    state = torch.load(clip_folder / "open_clip_pytorch_model.bin", weights_only=True)
    (tmp_path / "open_clip_config.json").write_text((clip_folder / "open_clip_config.json").read_text())
    names = list(state)
    for number, part in enumerate((names[:5], names[5:]), 1):
        tensors = {name: state[name].half() if state[name].ndim > 1 else state[name] for name in part}
        save_file(tensors, tmp_path / f"open_clip_model-{number:05}-of-00002.safetensors")
    signals = ImageCodec(32).encode(PICTURES)
    whole, cut = load(f"clip:{clip_folder}").embed(signals), load(f"clip:{tmp_path}").embed(signals)
    assert torch.allclose(whole, cut, atol=1e-2) and not torch.equal(whole, cut)
    (tmp_path / "open_clip_model-00001-of-00002.safetensors").unlink()
    with pytest.raises(unembed.InputError, match="1 of the files"):
        load(f"clip:{tmp_path}")


def test_the_bundled_clip_is_found_by_name(clip_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("unembed_image.embedders.models.WEIGHTS", tmp_path)
    with pytest.raises(unembed.MissingExtraError, match="pip install unembed-clip-tiny"):
        load("clip-tiny")
    shutil.copytree(clip_folder, tmp_path / "embedders/clip-tiny")
    box = load("clip-tiny")
    signals = ImageCodec(32).encode(PICTURES)
    assert box.name == "clip-tiny" and torch.equal(box.embed(signals), load(f"clip:{clip_folder}").embed(signals))


def test_the_bundled_clip_knows_a_mirrored_picture() -> None:
    """Its own weights: a picture is nearer to its mirror image than to any other picture."""
    box, signals = load("clip-tiny"), ImageCodec(64).encode(PICTURES)
    assert box.dimension == 512 and box.normalized
    nearness = box.embed(signals) @ box.embed(signals.flip(-1)).T
    assert (nearness.argmax(1) == torch.arange(len(signals))).all()


def test_resizing_is_near_pillows(clip_folder) -> None:
    """Signals larger than the model's inputs are shrunk with antialiasing, as its own preprocessing does."""
    box, codec = load(f"clip:{clip_folder}"), ImageCodec(32)
    small = codec.encode([Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC) for picture in PICTURES])
    assert (box.backbone.prepare(SIGNALS) - box.backbone.prepare(small)).abs().max() < 0.05


def test_efficientnet_lite0_has_its_pretrained_head() -> None:
    """Its features times its last layer are its probabilities: the two names are one model."""
    pooled, probs = load("efficientnet-lite0"), load("efficientnet-lite0:probs")
    signals = ImageCodec(64).encode(PICTURES)
    logits = probs.backbone.model._fc(pooled.embed(signals))
    assert torch.allclose(logits.softmax(-1), probs.embed(signals), atol=1e-5)
    assert pooled.dimension == 1280 and pooled.judge is not None
    inputs = pooled.backbone.prepare(torch.ones(1, 3, 224, 224))
    assert torch.allclose(inputs, torch.full_like(inputs, (255 - 127) / 128))


def test_a_layer_is_heard_in_a_compiled_model_and_each_time_anew() -> None:
    box = load("efficientnet-lite0")
    known, classes = box.embed(SIGNALS), box.judge.embed(SIGNALS)
    box.backbone.model.compile(backend="eager")  # traced as any other, run as it is
    assert torch.allclose(box.judge.embed(SIGNALS), classes, atol=1e-5)  # traced while nobody listens
    assert torch.allclose(box.embed(SIGNALS), known, atol=1e-5)
    assert torch.allclose(box.embed(SIGNALS.flip(0)), known.flip(0), atol=1e-5)


def test_folded_batch_norms_change_nothing(monkeypatch) -> None:
    signals = ImageCodec(64).encode(PICTURES)
    folded = load("efficientnet-lite0")
    monkeypatch.setattr("unembed_image.embedders.models._fold", lambda model: None)
    plain = load("efficientnet-lite0")
    norms = [[isinstance(m, torch.nn.BatchNorm2d) for m in box.backbone.model.modules()] for box in (folded, plain)]
    assert not any(norms[0]) and any(norms[1])
    assert torch.allclose(folded.embed(signals), plain.embed(signals), atol=1e-4)


def test_same_classes_by_hand() -> None:
    p, q = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1]]), torch.tensor([[0.25, 0.75], [0.0, 1.0], [0.9, 0.1]])
    kl = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert same_classes(p, q)[0].item() == pytest.approx(np.exp(-kl), rel=1e-5)
    assert same_classes(p, q)[1] == pytest.approx(1e-8, rel=1e-2) and same_classes(p, q)[2] == 1
    assert (same_classes(p, q * 7)[2] - 1).abs() < 1e-6


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("clip:", "neither a folder nor a model"),
        ("clip:ViT-B-32", "published weights of ViT-B-32 are openai"),
        ("clip:ViT-B-32/nowhere.pt", "'nowhere.pt' isn't a file"),
        ("features:resnet50", "names no layer"),
        ("features:efficientnet-lite0:nothing", "no layer 'nothing'; it has _conv_stem"),
        ("features:efficientnet-lite0:_fc?pool=max", "pool"),
        ("probs:resnet5", "neither torchvision nor timm has a model 'resnet5'"),
        ("probs:squeezenet1_1?weights=nowhere.pt", "can't be had or read .*nowhere.pt"),
        ("probs:squeezenet1_1?size=3", "options of probs:.* are weights"),
        ("efficientnet-lite0:x", "no argument or probs, not 'x'"),
    ],
)
def test_wrong_names_are_refused_in_one_line(name, told) -> None:
    with pytest.raises(unembed.InputError, match=told) as error:
        load(name)
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_refused(states) -> None:
    folder, _ = states
    with pytest.raises(unembed.InputError, match="can't be had or read"):
        load(f"probs:squeezenet1_1?weights={folder}/vit.pt")


@pytest.mark.reference
def test_efficientnet_lite0_recognises_real_photographs() -> None:
    from pathlib import Path

    import pyarrow.parquet as pq

    data = Path(__file__).parents[3] / "shared/data/tiny-imagenet/validation.parquet"
    if not data.is_file():
        pytest.skip("needs the shared photographs")
    place = {wnid: number for number, wnid in enumerate(timm.data.ImageNetInfo().label_names())}
    rows = pq.read_table(data).slice(0, 32).to_pylist()
    found = load("efficientnet-lite0:probs").embed(ImageCodec(64).encode([row["image"] for row in rows])).argmax(1)
    hits = sum(place[row["wnid"]] == label for row, label in zip(rows, found.tolist(), strict=True))
    assert hits / len(rows) > 0.2  # 1,000 classes; enlarged from 64 pixels, 35 % of 600 were right
