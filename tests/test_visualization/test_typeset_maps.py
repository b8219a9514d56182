# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from mmdptr.visualization.typeset_maps import draw_typeset_maps


def test_panels_show_where_a_map_holds_each_character() -> None:
    features = torch.eye(2, 8)
    there = torch.stack([features[0], features[0], features[1]])[None].repeat(2, 1, 1)
    figure = draw_typeset_maps({"ab": (["a", "b"], features, [there, torch.zeros_like(there)])})
    clear, empty = (axis.images[0].get_array() for axis in figure.axes)
    np.testing.assert_allclose(clear, [[1, 1, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(empty, 0, atol=1e-6)
    assert [x.get_text() for x in figure.axes[0].get_yticklabels()] == ["a", "b"]
