# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from mmocr.registry import MODELS
from timm.models.vision_transformer import VisionTransformer

SMALL = {"type": "ViT", "embed_dim": 32, "depth": 2, "num_heads": 4}


def test_map_holds_the_patches_row_by_row() -> None:
    vit = MODELS.build(SMALL).eval()
    timms = VisionTransformer((32, 128), 4, embed_dim=32, depth=2, num_heads=4, num_classes=0)
    timms.load_state_dict(vit.state_dict())
    images = torch.randn(2, 3, 32, 128)
    tokens = timms.eval().forward_features(images)
    features = vit(images)
    assert features.shape == (2, 32, 8, 32)
    assert tokens.shape[1] == 1 + 8 * 32  # with its class token
    torch.testing.assert_close(features[:, :, 3, 5], tokens[:, 1 + 3 * 32 + 5])


@pytest.mark.parametrize(("patch", "grid"), [((4, 8), (8, 16)), ((16, 4), (2, 32))])
def test_patches_may_be_oblong_and_the_class_token_left_out(
    patch: tuple[int, int], grid: tuple[int, int]
) -> None:
    vit = MODELS.build({**SMALL, "patch_size": patch, "class_token": False})
    assert vit(torch.randn(1, 3, 32, 128)).shape == (1, 32, *grid)
    assert "cls_token" not in vit.state_dict()


def test_weights_are_read_by_init_cfg(tmp_path: Path) -> None:
    one = MODELS.build(SMALL)
    torch.save({"state_dict": {f"x.{k}": v for k, v in one.state_dict().items()}}, tmp_path / "x")
    pretrained = {"type": "Pretrained", "checkpoint": str(tmp_path / "x"), "prefix": "x."}
    two = MODELS.build({**SMALL, "init_cfg": pretrained})
    assert not torch.equal(two.pos_embed, one.pos_embed)
    two.init_weights()
    torch.testing.assert_close(two.state_dict(), one.state_dict(), rtol=0, atol=0)


def test_initialization_by_the_runner_draws_anew() -> None:
    vit = MODELS.build(SMALL)
    before = vit.patch_embed.proj.weight.clone()
    vit.init_weights()
    assert not torch.equal(vit.patch_embed.proj.weight, before)
    assert 0 < vit.pos_embed.std() < 0.03
