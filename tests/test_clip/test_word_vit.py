# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import torch

from mmdptr.clip import CLIPImageEncoder, load_clip
from mmdptr.clip.image_towers import build_image_tower


def test_a_word_is_a_row_of_columns() -> None:
    clip = load_clip("clip-word-tiny", "random")
    tower = build_image_tower(clip.model.visual, "clip-word-tiny")
    assert (tower.grid_size, tower.num_prefix_tokens) == ((1, 32), 0)
    assert sum(p.numel() for p in tower.module.parameters()) < 2.5e6
    images = torch.rand(2, 3, 32, 128)
    features = CLIPImageEncoder(clip).encode(images)
    assert features.shape == (2, 32, 192)
    with torch.inference_mode():
        torch.testing.assert_close(features.mean(1), clip.model.encode_image(images))


def test_columns_know_their_places_from_the_start() -> None:
    trunk = load_clip("clip-word-tiny", "random").model.visual.trunk
    grey = trunk.patch_embed(torch.zeros(1, 3, 32, 128))
    near, far = ((trunk.pos_embed[0, 10] @ trunk.pos_embed[0, i]).item() for i in (11, 30))
    assert near > far
    assert trunk.pos_embed.std() > 0.5
    assert trunk.pos_embed.std() > 0.3 * grey.std()


def test_longer_images_have_more_columns() -> None:
    clip = load_clip("clip-word-tiny", "random", image_size=(32, 256))
    assert CLIPImageEncoder(clip).encode(torch.rand(1, 3, 32, 256)).shape == (1, 64, 192)
