# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmocr.registry import MODELS

from mmdptr.clip import CLIPImageEncoder, LoadedCLIP, load_clip
from mmdptr.models import CLIPVisionBackbone

TINY = {"type": "CLIPVisionBackbone", "model": "mmdptr-tiny"}


@pytest.fixture(scope="module")
def clip() -> LoadedCLIP:
    return load_clip("mmdptr-tiny", "random", seed=3)


@pytest.fixture(scope="module")
def weights(clip: LoadedCLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "clip.pt"
    torch.save(clip.model.state_dict(), path)
    return path


def build(**options: Any) -> CLIPVisionBackbone:
    torch.manual_seed(0)
    backbone = MODELS.build({**TINY, "pretrained": "random", **options})
    backbone.init_weights()
    return backbone


def test_it_computes_what_clip_does(clip: LoadedCLIP, weights: Path) -> None:
    backbone = build(pretrained=str(weights)).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        features = backbone(images)
        backbone.class_token = True
        tokens = backbone(images)
    torch.testing.assert_close(tokens, CLIPImageEncoder(clip).encode(images).clone())
    torch.testing.assert_close(tokens[:, 0], clip.model.encode_image(images))
    assert features.shape == (2, 256, 7, 7)
    torch.testing.assert_close(features[:, :, 2, 5], tokens[:, 1 + 2 * 7 + 5])


def test_building_needs_no_weights() -> None:
    MODELS.build({**TINY, "pretrained": "no/such/file.pt"})
    with pytest.raises(FileNotFoundError, match=r"no/such/file\.pt"):
        build(pretrained="no/such/file.pt")


def test_positions_are_interpolated(clip: LoadedCLIP, weights: Path) -> None:
    backbone = build(pretrained=str(weights), image_size=[32, 128])
    assert backbone(torch.randn(1, 3, 32, 128)).shape == (1, 256, 1, 4)
    theirs = clip.model.visual.positional_embedding
    ours = backbone.tower.positional_embedding
    torch.testing.assert_close(ours[0], theirs[0])  # of the class token
    mean = theirs[1:].mean(0)
    assert (ours[1:].mean(0) - mean).norm() < 0.5 * mean.norm() + 0.5 * theirs[1:].std()
    assert ours.requires_grad


def test_features_may_stay_as_wide_as_the_tower(weights: Path) -> None:
    backbone = build(pretrained=str(weights), with_projection=False, class_token=True)
    assert "tower.proj" not in backbone.state_dict()
    images = torch.randn(1, 3, 224, 224)
    narrow = build(pretrained=str(weights), class_token=True)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images) @ narrow.tower.proj, narrow(images))


@pytest.mark.parametrize("stages", [-1, 0, 2])
def test_the_first_stages_may_stay_as_they_are(stages: int) -> None:
    backbone = build(frozen_stages=stages)
    backbone(torch.randn(1, 3, 224, 224)).square().sum().backward()
    learning = {name for name, p in backbone.named_parameters() if p.grad is not None}
    frozen = {name for name, _ in backbone.named_parameters()} - learning
    embedding = {"class_embedding", "positional_embedding", "conv1", "ln_pre"}
    expected = embedding if stages >= 0 else set()
    assert {name.split(".")[1] for name in frozen} - {"transformer"} == expected
    blocks = {int(name.split(".")[3]) for name in frozen if "resblocks" in name}
    assert blocks == set(range(stages))
    assert {int(name.split(".")[3]) for name in learning if "resblocks" in name} == {
        *range(max(stages, 0), 3)
    }


def test_checkpointing_computes_the_same() -> None:
    images = torch.randn(2, 3, 224, 224)
    gradients = []
    for checkpointing in (False, True):
        backbone = build(checkpointing=checkpointing).train()
        backbone(images).square().mean().backward()
        gradients.append({k: p.grad for k, p in backbone.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_learning_rates_may_fall_with_the_depth() -> None:
    keys = {f"resblocks.{i}.": {"lr_mult": 0.5 ** (3 - i)} for i in range(3)}
    backbone = build()
    wrapper = build_optim_wrapper(
        backbone,
        {"optimizer": {"type": "AdamW", "lr": 1.0}, "paramwise_cfg": {"custom_keys": keys}},
    )
    rates = {id(p): g["lr"] for g in wrapper.optimizer.param_groups for p in g["params"]}
    for name, parameter in backbone.named_parameters():
        block = name.split(".")[3] if "resblocks" in name else "3"
        assert rates[id(parameter)] == 0.5 ** (3 - int(block))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "no-such-clip"}, "knows no model 'no-such-clip'"),
        ({"model": "RN50"}, "is a ModifiedResNet; expected a vision transformer"),
        ({"image_size": (30, 128)}, r"images of \(30, 128\) do not divide into the patches"),
        ({"frozen_stages": 4}, "frozen_stages is 4, but 'mmdptr-tiny' has 3 blocks"),
    ],
)
def test_what_cannot_be_built_says_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_transformer_of_timm_is_loaded_with_its_weights(tmp_path: Path) -> None:
    config = open_clip.get_model_config("mmdptr-tiny")
    trunk = {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear"}
    config["vision_cfg"] = {"image_size": 160, **trunk}
    (tmp_path / "mmdptr-timm.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "mmdptr-timm.json")
    clip = load_clip("mmdptr-timm", "random", seed=3)
    torch.save(clip.model.state_dict(), tmp_path / "clip.pt")
    options = {"model": "mmdptr-timm", "pretrained": str(tmp_path / "clip.pt")}
    images = torch.randn(2, 3, 160, 160)
    backbone = build(**options, image_size=(160, 160), frozen_stages=1).eval()
    expected = CLIPImageEncoder(clip).encode(images)[:, 1:]
    found = backbone(images)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected.clone())
    found.square().sum().backward()
    learning = {name for name, p in backbone.named_parameters() if p.grad is not None}
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert learning | frozen == {name for name, _ in backbone.named_parameters()}
    assert "tower.trunk.blocks.0.mlp.fc1.weight" in frozen
    assert "tower.trunk.patch_embed.proj.weight" in frozen
    assert {"tower.trunk.blocks.1.mlp.fc1.weight", "tower.head.proj.weight"} <= learning
    wide = build(**options, image_size=(32, 128), with_projection=False)
    assert wide(torch.randn(1, 3, 32, 128)).shape == (1, 64, 2, 8)
