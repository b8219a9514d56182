# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Many images on one sheet."""

from collections.abc import Sequence

from PIL import Image, ImageOps


def contact_sheet(images: Sequence[Image.Image], columns: int = 4) -> Image.Image:
    """Lay images out in a grid for a quick look.

    Args:
        images (Sequence[Image.Image]): Images of any size.
        columns (int): Images a row. Defaults to 4.

    Returns:
        Image.Image: White sheet with the images.
    """
    width, height, gap = 220, 64, 8
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        small = ImageOps.contain(image, (width, height))
        sheet.paste(small, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet
