# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Transformers of timm, in each way that open_clip pools them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmdptr.clip import CLIPImageEncoder, LoadedCLIP, load_clip
from mmdptr.clip.image_towers import build_image_tower

MakeCLIP = Callable[..., LoadedCLIP]
# How a name's first words are pooled and projected, and what kind of model has it so.
BUILDS: dict[str, dict[str, Any]] = {
    "MobileCLIP": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": ""},
    "SigLIP": {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none"},
    "PE": {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": ""},
    "GAP": {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear"},
    "EVA": {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token", "timm_proj": ""},
}
SIZE = {"EVA": 224}


def vision(build: str) -> dict[str, Any]:
    return {"image_size": SIZE.get(build, 160), **BUILDS[build]}


def pool(visual: nn.Module, tokens: Tensor, build: str) -> Tensor:
    """Make the pooled feature of those of the tokens."""
    trunk = visual.trunk
    if build in ("SigLIP", "PE"):
        tokens = tokens if trunk.pool_include_prefix else tokens[:, trunk.num_prefix_tokens :]
        return trunk.head(trunk.fc_norm(trunk.attn_pool(tokens)))
    return tokens[:, 1:].mean(1) if build == "GAP" else tokens[:, 0]


@pytest.mark.parametrize("build", BUILDS)
def test_the_pooled_feature_is_made_of_the_tokens(make_clip: MakeCLIP, build: str) -> None:
    clip = make_clip(vision=vision(build))
    visual = clip.model.visual
    size = SIZE.get(build, 160)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = CLIPImageEncoder(clip).encode(images)
    with torch.inference_mode():
        expected = clip.model.encode_image(images)
        torch.testing.assert_close(pool(visual, found, build), expected, atol=1e-4, rtol=1e-4)
    patches = visual.trunk.patch_embed.num_patches
    assert found.shape == (2, patches + 1, found.shape[2])
    assert found[0].std(0).min() > 1e-3  # each token has its own


@pytest.mark.parametrize("build", BUILDS)
def test_images_of_another_size_are_cut_into_other_patches(
    add_config: Callable[..., str], build: str
) -> None:
    name = add_config(vision=vision(build))
    cell = 14 if build == "EVA" else 16
    clip = load_clip(name, "random", image_size=(2 * cell, 7 * cell))
    tower = build_image_tower(clip.model.visual, name)
    assert (tower.grid_size, tower.patch_size) == ((2, 7), (cell, cell))
    images = torch.randn(1, 3, 2 * cell, 7 * cell)
    before = tower(images)
    assert before.shape[1] == 1 + 14
    tower.keep_tokens_only(with_projection=True)
    assert torch.equal(tower(images), before)
    assert not any("attn_pool" in name for name, _ in tower.module.named_parameters())
    tower.keep_tokens_only(with_projection=False)
    assert tower(images).shape == (1, 15, tower.module.trunk.embed_dim)


@pytest.mark.parametrize("build", BUILDS)
def test_embedding_and_blocks_are_all_that_tokens_need(
    add_config: Callable[..., str], build: str
) -> None:
    name = add_config(vision=vision(build))
    module = load_clip(name, "random").model.visual
    tower = build_image_tower(module, name)
    tower.keep_tokens_only(with_projection=False)
    parts = [*tower.embedding, *tower.blocks]
    found = {id(x) for x in parts if isinstance(x, nn.Parameter)}
    found |= {id(p) for x in parts if isinstance(x, nn.Module) for p in x.parameters()}
    left = [name for name, p in module.named_parameters() if id(p) not in found]
    assert {name.split(".")[1] for name in left} <= {"norm", "fc_norm"}


def test_timm_models_that_are_no_transformers_are_refused(make_clip: MakeCLIP) -> None:
    convolutional = {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"}
    clip = make_clip(vision={"image_size": 160, **convolutional})
    with pytest.raises(ValueError, match="is a ConvNeXt; expected a vision transformer"):
        CLIPImageEncoder(clip)
