# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mmdptr.clip.prefix_transformer import PrefixTransformer


@pytest.fixture(scope="module")
def transformer(clip):
    return clip.model.transformer


@pytest.mark.parametrize(
    ("number", "length"),
    [
        pytest.param(3, 4, id="less than a group"),
        pytest.param(19, 4, id="groups and a rest"),
        pytest.param(16, 4, id="whole groups"),
        pytest.param(2, 40, id="one to a group"),
    ],
)
@pytest.mark.parametrize("start", range(6))
def test_any_part_of_the_prefix_may_stand_before(transformer, number, length, start):
    prefix, own = torch.randn(5, 32), torch.randn(number, length, 32)
    whole = torch.cat([prefix[:start].expand(number, -1, -1), own], dim=1)
    mask = torch.full((start + length, start + length), -torch.inf).triu(1)
    with torch.inference_mode():
        states = transformer(whole, attn_mask=mask)
        cached = PrefixTransformer(transformer, prefix)
        found = cached(own, start)
    torch.testing.assert_close(found, states[:, start:], atol=1e-5, rtol=0)
    expected = states[:, :start]
    torch.testing.assert_close(
        cached.prefix[:start].expand_as(expected), expected, atol=1e-5, rtol=0
    )


def test_no_parameter_is_copied(clip, transformer):
    cached = PrefixTransformer(transformer, torch.randn(2, 32))
    assert all(a is b for a, b in zip(cached.blocks, transformer.resblocks, strict=True))
