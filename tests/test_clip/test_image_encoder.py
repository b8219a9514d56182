# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mmdptr.clip import CLIPImageEncoder


def by_hand(visual: nn.Module, images: Tensor) -> Tensor:
    """The vision transformer, spelled out."""
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + visual.positional_embedding)
    for block in visual.transformer.resblocks:
        x = block(x)
    return visual.ln_post(x) @ visual.proj


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_all_tokens_are_those_of_a_plain_forward(clip, images):
    with torch.inference_mode():
        expected = by_hand(clip.model.visual, images)
    found = CLIPImageEncoder(clip).encode(images)
    assert found.shape == (3, 17, 24)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [{}, {"quick_gelu": True}, {"custom_text": True}], ids=str)
def test_first_token_is_encode_image(make_clip, images, config):
    clip = make_clip(**config)
    with torch.inference_mode():
        expected = clip.model.encode_image(images)
    found = CLIPImageEncoder(clip).encode(images)
    torch.testing.assert_close(found[:, 0], expected, atol=1e-5, rtol=0)
    assert not torch.allclose(found[:, 1], expected, atol=1e-2)


def test_batch_size_does_not_matter(clip, images):
    encoder = CLIPImageEncoder(clip)
    found = torch.cat([encoder.encode(image[None]) for image in images])
    torch.testing.assert_close(found, encoder.encode(images), atol=1e-5, rtol=0)


def test_patches_of_32_give_50_tokens(tiny_clip):
    features = CLIPImageEncoder(tiny_clip).encode(torch.zeros(1, 3, 224, 224))
    assert features.shape == (1, 50, 256)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("amp_bf16", torch.float32)]
)
def test_lower_precision_is_near(make_clip, images, precision, dtype):
    features = CLIPImageEncoder(make_clip(precision)).encode(images)
    assert features.dtype == dtype
    exact = CLIPImageEncoder(make_clip()).encode(images)
    assert not torch.equal(features.float(), exact)
    torch.testing.assert_close(features.float(), exact, atol=0.2, rtol=0)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_images_of_any_mode_are_read(clip, tmp_path, mode):
    path = tmp_path / "image.tif"
    Image.new("RGB", (50, 40), (200, 100, 50)).convert("L").convert(mode).save(path)
    assert CLIPImageEncoder(clip).load(str(path)).shape == (3, 32, 32)


def test_image_is_read_with_the_transform_of_clip(clip, tmp_path):
    path = tmp_path / "image.png"
    Image.effect_noise((60, 40), 80).convert("RGB").save(path)
    with Image.open(path) as image:
        expected = clip.preprocess(image)
    assert torch.equal(CLIPImageEncoder(clip).load(str(path)), expected)


def damaged(folder: Path, kind: str) -> Path:
    path = folder / f"image.{kind}"
    noise = Image.effect_noise((60, 40), 80).convert("RGB")
    if kind in ("png", "jpg", "gif"):
        noise.save(path)
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "ppm":  # Pillow raises ValueError
        path.write_bytes(b"P6 6x 40 255 " + bytes(7200))
    elif kind == "dds":  # ValueError as well
        noise.save(path)
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "txt":
        path.write_text("no image")
    else:
        path.touch()
    return path


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "ppm", "dds", "txt", "empty"])
def test_broken_file_is_named(clip, tmp_path, kind):
    path = damaged(tmp_path, kind)
    with pytest.raises(OSError, match=f"image.{kind} is not an image, or broken: "):
        CLIPImageEncoder(clip).load(str(path))


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        (
            {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4},
            "VisionTransformer with attention pooling",
        ),
        ({"layers": [1, 1, 1, 1], "width": 16, "head_width": 16}, "ModifiedResNet;"),
    ],
)
def test_other_towers_are_refused(make_clip, vision, message):
    clip = make_clip(vision=vision)
    with pytest.raises(ValueError, match=f"{clip.identity.model}.*{message}.*ViT-B-16-quickgelu"):
        CLIPImageEncoder(clip)
