# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch

from mmdptr.clip import LoadedCLIP, load_clip
from mmdptr.clip.loading import _check_names

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def name(add_config):
    return add_config()


@pytest.fixture(scope="module")
def clip(name) -> LoadedCLIP:
    return load_clip(name, "random", seed=5)


@pytest.fixture(scope="module")
def weights(clip, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(clip.model.state_dict(), path)
    return path


def same_weights(a: LoadedCLIP, b: LoadedCLIP) -> bool:
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in ours.keys() | theirs.keys())


def test_random_weights_can_be_had_again(name, clip):
    again, other = load_clip(name, "random", seed=5), load_clip(name, "random", seed=6)
    assert same_weights(clip, again)
    assert clip.identity == again.identity
    assert not same_weights(clip, other)
    assert clip.identity.weights_sha256 != other.identity.weights_sha256


def test_own_model_needs_no_weights_and_no_network():
    identity = load_clip("mmdptr-tiny", "random").identity.to_dict()
    assert len(identity.pop("weights_sha256")) == 64
    assert identity == {
        "model": "mmdptr-tiny",
        "pretrained": "random",
        "file_sha256": "",
        "precision": "fp32",
    }


def test_global_random_numbers_are_not_touched(name):
    def states() -> tuple[object, ...]:
        numpy_state = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
        return torch.get_rng_state().tolist(), random.getstate(), numpy_state

    torch.manual_seed(3)
    before = states()
    load_clip(name, "random", seed=5)
    assert states() == before


def test_model_is_frozen(clip):
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        *(("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)),
        *(("amp_bf16", torch.float32), ("amp_fp16", torch.float32)),
    ],
)
def test_precision_does_not_change_the_hash(name, clip, precision, dtype):
    other = load_clip(name, "random", precision=precision, seed=5)
    assert other.dtype == dtype
    assert {p.dtype for p in other.model.parameters()} == {dtype}
    assert other.identity.weights_sha256 == clip.identity.weights_sha256
    assert other.identity.precision == precision


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_that_is_emulated_is_warned_of(name, monkeypatch, caplog, native):
    monkeypatch.setattr("mmdptr.clip.loading.cpu_multiplies_bfloat16", lambda: native)
    for precision in ("fp32", "fp16", "bf16", "amp_bf16"):
        caplog.clear()
        load_clip(name, "random", precision=precision)
        warned = f"Precision {precision} is slow on this CPU" in caplog.text
        assert warned == (not native and precision in ("bf16", "amp_bf16"))


def test_slash_means_dash():
    # open_clip takes both; the manifest must not take them for two models.
    with pytest.raises(ValueError, match="'ViT-B-16-quickgelu'"):
        load_clip("ViT-B/16", "openai")


def test_unknown_precision_is_refused(name):
    with pytest.raises(ValueError, match=r"'int8'.*fp32, bf16, fp16"):
        load_clip(name, "random", precision="int8")


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no model 'ViT-Q-7'.*ViT-B-16-quickgelu"):
        load_clip("ViT-Q-7", "openai")


def test_unknown_tag_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'imagenet' for 'ViT-B-16-quickgelu'.*openai, dfn2b"):
        load_clip("ViT-B-16-quickgelu", "imagenet")


@pytest.mark.parametrize(
    ("model", "pretrained", "tags"),
    [
        ("ViT-B-16-quickgelu", "", "openai"),
        ("coca_ViT-B-32", None, "laion2b"),
        ("mmdptr-tiny", None, "it has none"),
    ],
)
def test_weights_must_be_named(model, pretrained, tags):
    with pytest.raises(ValueError, match=rf"No weights named.*{tags}.*pretrained='random'"):
        load_clip(model, pretrained)


@pytest.mark.parametrize("path", ["clip.pt", "weights/clip", "/no/such/file.safetensors"])
def test_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=f"{path}' does not exist.*openai"):
        load_clip("ViT-B-16-quickgelu", path)


@pytest.mark.parametrize(
    ("model", "tag", "right"),
    [
        ("ViT-B-16", "openai", "ViT-B-16-quickgelu"),
        ("ViT-B-32", "openai", "ViT-B-32-quickgelu"),
        ("ViT-L-14", "OpenAI", "ViT-L-14-quickgelu"),
        ("RN50", "yfcc15m", "RN50-quickgelu"),
        ("ViT-B-16", "dfn2b", "ViT-B-16-quickgelu"),
    ],
)
def test_gelu_with_quickgelu_weights_is_refused(model, tag, right):
    with pytest.raises(ValueError, match=f"trained with QuickGELU.*computes GELU.*'{right}'"):
        load_clip(model, tag)


def test_quickgelu_with_gelu_weights_is_refused(monkeypatch):
    # open_clip lists no such tag, but it has listed some: (model, tag) -> weights without a flag.
    tags = open_clip.pretrained._PRETRAINED
    plain = tags["ViT-B-16"]["laion2b_s34b_b88k"]
    monkeypatch.setitem(tags["ViT-B-16-quickgelu"], "laion2b_s34b_b88k", plain)
    with pytest.raises(ValueError, match=r"trained with GELU.*computes QuickGELU.*'ViT-B-16'\."):
        load_clip("ViT-B-16-quickgelu", "laion2b_s34b_b88k")


def test_every_tag_has_a_model_that_is_accepted():
    for model, tag in open_clip.list_pretrained():
        try:
            _check_names(model, tag)
        except ValueError as error:
            right = str(error).split("Use model='")[1].removesuffix("'.")
            assert right != model
            _check_names(right, tag)  # what the message says works


def test_right_activation_goes_on_to_the_weights(monkeypatch):
    def download(weights: dict[str, object], **_: object) -> str:
        assert weights["quick_gelu"]
        raise RuntimeError("not now")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", download)
    with pytest.raises(RuntimeError, match=r"'openai'.*not now.*network access or a filled cache"):
        load_clip()  # the paper's CLIP


def test_file_gives_the_same_weights(name, clip, weights):
    loaded = load_clip(name, str(weights), seed=99)
    assert same_weights(loaded, clip)
    assert loaded.identity.weights_sha256 == clip.identity.weights_sha256
    assert loaded.identity.file_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert loaded.identity.pretrained == "weights.pt"  # where it lies does not matter


def test_hash_is_of_the_weights_not_of_the_file(name, clip, weights, tmp_path):
    file, checkpoint = tmp_path / "weights.safetensors", tmp_path / "checkpoint.pt"
    safetensors.torch.save_file(clip.model.state_dict(), file)
    state = {f"module.{k}": v for k, v in clip.model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, checkpoint)
    identities = [load_clip(name, str(path)).identity for path in (weights, file, checkpoint)]
    assert {i.weights_sha256 for i in identities} == {clip.identity.weights_sha256}
    assert len({i.file_sha256 for i in identities}) == 3


def test_local_dir_brings_its_own_weights(clip, name, tmp_path):
    config = {"model_cfg": open_clip.get_model_config(name)}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(RuntimeError, match=r"local-dir:.*pretrained=None"):
        load_clip(f"local-dir:{tmp_path}", None)  # no weights there: never random ones instead
    torch.save(clip.model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    loaded = load_clip(f"local-dir:{tmp_path}", None)
    assert loaded.identity.weights_sha256 == clip.identity.weights_sha256
    with pytest.raises(ValueError, match=r"brings its own weights.*'openai'"):
        load_clip(f"local-dir:{tmp_path}", "openai")


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_code_in_a_file_is_not_run(name, clip, tmp_path):
    torch.save({**clip.model.state_dict(), "x": Evil(tmp_path / "was run")}, tmp_path / "evil.pt")
    with pytest.raises(RuntimeError, match=r"evil\.pt.*UnpicklingError"):
        load_clip(name, str(tmp_path / "evil.pt"))
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
def test_damaged_file_is_named(name, clip, tmp_path, suffix, damage):
    path = tmp_path / f"broken.{suffix}"
    state = clip.model.state_dict()
    safetensors.torch.save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    data = path.read_bytes()
    content = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"this is no file of weights " * 10,
        "header": data[:20] + b"\0\0\0\0" + data[24:],
    }
    path.write_bytes(content[damage])
    if (suffix, damage) == ("pt", "header"):
        path.write_bytes(data[:-200] + b"\0" * 200)  # a zip archive's directory is at its end
    with pytest.raises(RuntimeError, match=rf"broken\.{suffix}'.*complete"):
        load_clip(name, str(path))


@pytest.mark.parametrize(
    "content", [{}, [1, 2], None, {"state_dict": 5}, {"weight": torch.zeros(3)}], ids=str
)
def test_file_without_weights_is_named(name, tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(RuntimeError, match=r"(?s)other\.pt'.*belong to this model"):
        load_clip(name, str(tmp_path / "other.pt"))


def test_partial_weights_are_refused(name, clip, tmp_path):
    state = clip.model.state_dict()
    del state["ln_final.weight"]
    torch.save(state, tmp_path / "partial.pt")
    with pytest.raises(RuntimeError, match=r"Missing key.*ln_final\.weight"):
        load_clip(name, str(tmp_path / "partial.pt"))


@pytest.mark.parametrize(
    "config",
    [
        {"embed_dim": 16},
        {"text": {"width": 64}},
        {"text": {"layers": 3}},
        {"vision": {"layers": 1}},
    ],
    ids=str,
)
def test_file_of_another_architecture_is_refused(add_config, weights, config):
    other = add_config(**config)
    with pytest.raises(RuntimeError, match=rf"(?s){other}.*weights\.pt'.*belong to this model"):
        load_clip(other, str(weights))
