# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import torch
from torchvision import tv_tensors

from mmdptr.rendering import camera_distortions, view_distortions
from mmdptr.rendering.distortions import Bend, FewPixels, MotionBlur, Noise


def word() -> torch.Tensor:
    """A bright block in the middle of a dark image."""
    image = torch.full((3, 48, 160), 20, dtype=torch.uint8)
    image[:, 16:32, 40:120] = 220
    return image


def test_image_and_mask_move_together() -> None:
    torch.manual_seed(0)
    moved = 0
    for _ in range(40):
        image, mask = view_distortions()(
            tv_tensors.Image(word()), tv_tensors.Mask((word()[:1] > 100).to(torch.uint8) * 255)
        )
        inside, outside = image[0][mask[0] > 200], image[0][mask[0] < 1]
        assert inside.float().median() > 200
        assert outside.float().median() < 40
        moved += not torch.equal(image, word())
    assert moved > 35


def test_bending_keeps_columns_in_place() -> None:
    torch.manual_seed(1)
    bent = Bend()(tv_tensors.Image(word()))
    assert isinstance(bent, tv_tensors.Image)
    assert torch.equal(bent.sum(dim=(0, 1)) > 5000, word().sum(dim=(0, 1)) > 5000)
    tops = (bent[0, :, 40:120] > 100).int().argmax(dim=0)  # where the block begins in a column
    assert len(tops.unique()) > 2


def test_each_flaw_of_a_camera_changes_pixels_only() -> None:
    torch.manual_seed(2)
    for flaw in (FewPixels(), MotionBlur(), Noise(), camera_distortions()):
        seen = torch.stack([flaw(word()).float() for _ in range(20)])
        assert seen.shape == (20, 3, 48, 160), flaw
        assert seen.std(0).max() > 1, flaw  # not the same twice
        mean = seen.mean(0)
        assert mean[:, 22:26, 60:100].mean() - mean[:, :8].mean() > 60, flaw  # still to be read
