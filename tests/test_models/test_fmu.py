# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmocr.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from mmdptr.models import FMU
from mmdptr.models.necks.fmu import padding_mask
from mmdptr.models.position import sine_positions, sinusoids

WIDTH = 16


def fmu(**changes: Any) -> FMU:
    settings = {"embed_dims": WIDTH, "num_queries": 5, "num_heads": 4, **changes}
    torch.manual_seed(0)
    neck = FMU(**settings).eval()
    # the biases that start at zero must count, too
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return neck


def literal(neck: FMU, tokens: Tensor, shape: tuple[int, int], valid: list[int]) -> Tensor:
    """The FMU, sample by sample, head by head, query by query, in the words of the paper."""
    weights = dict(neck.named_parameters())
    w_q, w_k, w_v = weights["attention.in_proj_weight"].chunk(3)
    b_q, b_k, b_v = weights["attention.in_proj_bias"].chunk(3)
    heads, size = neck.attention.num_heads, WIDTH // neck.attention.num_heads
    height, width = shape
    memories = []
    for sample, columns in zip(tokens, valid, strict=True):
        rows = [y * width + x for y in range(height) for x in range(columns)]
        values = sample[rows]
        keys = values
        if neck.with_position:
            keys = values + sine_positions(height, width, WIDTH)[rows]
        slots = []
        for query in neck.queries:
            merged = []
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                q = torch.einsum("oi,i->o", w_q[part], query) + b_q[part]
                k = torch.einsum("oi,li->lo", w_k[part], keys) + b_k[part]
                v = torch.einsum("oi,li->lo", w_v[part], values) + b_v[part]
                scores = torch.einsum("o,lo->l", q, k) / math.sqrt(size)
                attention = scores.exp() / scores.exp().sum()
                merged.append(torch.einsum("l,lo->o", attention, v))
            out = weights["attention.out_proj.weight"] @ torch.cat(merged)
            slot = query + out + weights["attention.out_proj.bias"]
            centred = slot - slot.mean()
            normed = centred / (centred.square().mean() + 1e-5).sqrt()
            normed = normed * weights["norm.weight"] + weights["norm.bias"]
            hidden = weights["feedforward.0.weight"] @ normed + weights["feedforward.0.bias"]
            slots.append(
                slot
                + weights["feedforward.3.weight"] @ F.gelu(hidden)
                + weights["feedforward.3.bias"]
            )
        memories.append(torch.stack(slots))
    return torch.stack(memories)


@pytest.mark.parametrize("shape", [(1, 12), (3, 4)])
@pytest.mark.parametrize("with_position", [True, False])
def test_equals_the_literal_computation(shape: tuple[int, int], with_position: bool) -> None:
    neck = fmu(with_position=with_position)
    tokens = torch.randn(3, 12, WIDTH)
    ratios = [1.0, 0.5, 0.01]
    valid = [max(1, math.ceil(shape[1] * ratio)) for ratio in ratios]
    expected = literal(neck, tokens, shape, valid)
    assert expected.std() > 0.1
    torch.testing.assert_close(neck(tokens, shape, ratios), expected, rtol=1e-4, atol=1e-4)
    expected = literal(neck, tokens, shape, [shape[1]] * 3)
    torch.testing.assert_close(neck(tokens, shape), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([0, 1]),
    st.sampled_from([(1, 12), (3, 4), (2, 6)]),
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2),
    st.sampled_from([1e4, -3.0, 0.0]),
)
def test_padding_never_counts(
    layers: int, shape: tuple[int, int], ratios: list[float], garbage: float
) -> None:
    neck = fmu(num_layers=layers)
    tokens = torch.randn(2, *shape, WIDTH)
    expected = neck(tokens.flatten(1, 2), shape, ratios)
    for sample, ratio in zip(tokens, ratios, strict=True):
        sample[:, math.ceil(shape[1] * ratio) :] = garbage
    torch.testing.assert_close(neck(tokens.flatten(1, 2), shape, ratios), expected, rtol=0, atol=0)


def test_without_padding_there_is_no_mask() -> None:
    device = torch.device("cpu")
    assert padding_mask((2, 3), None, device) is None
    assert padding_mask((2, 3), [1.0, 1.2], device) is None
    mask = padding_mask((2, 3), [1.0, 0.34, 0.33, 0.0], device)
    assert mask is not None
    one, two, three = [0, 1, 1] * 2, [0, 0, 1] * 2, [0, 0, 0] * 2
    assert mask.int().tolist() == [three, two, one, one]


def test_order_of_tokens_counts_only_through_positions() -> None:
    tokens, order = torch.randn(2, 12, WIDTH), torch.randperm(12)
    blind = fmu(with_position=False)
    torch.testing.assert_close(blind(tokens[:, order], (3, 4)), blind(tokens, (3, 4)))
    seeing = fmu(with_position=True)
    difference = seeing(tokens[:, order], (3, 4)) - seeing(tokens, (3, 4))
    assert difference.abs().max() > 0.01


def test_positions_touch_the_keys_but_not_the_values() -> None:
    neck = fmu(with_position=True)
    with torch.no_grad():  # every token gets the same attention, whatever its key
        neck.attention.in_proj_weight[: 2 * WIDTH] = 0
        neck.attention.in_proj_bias[: 2 * WIDTH] = 0
    tokens, order = torch.randn(1, 12, WIDTH), torch.randperm(12)
    torch.testing.assert_close(neck(tokens[:, order], (3, 4)), neck(tokens, (3, 4)))


def attend(weights: dict[str, Tensor], heads: int, tokens: Tensor) -> Tensor:
    """Self-attention of one sample's tokens (L, C), head by head."""
    q, k, v = (tokens @ weights["in_proj_weight"].T + weights["in_proj_bias"]).chunk(3, dim=1)
    merged = []
    for part in torch.arange(WIDTH).chunk(heads):
        scores = q[:, part] @ k[:, part].T / math.sqrt(len(part))
        merged.append(scores.softmax(dim=1) @ v[:, part])
    return torch.cat(merged, dim=1) @ weights["out_proj.weight"].T + weights["out_proj.bias"]


def below(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


@pytest.mark.parametrize("with_position", [True, False])
def test_layers_are_pre_norm_and_know_positions_and_padding(with_position: bool) -> None:
    neck = fmu(num_layers=2, with_position=with_position)
    tokens, shape = torch.randn(2, 12, WIDTH), (3, 4)
    weights = {k: v.detach() for k, v in neck.named_parameters()}
    read = torch.zeros_like(tokens)
    for sample, out, columns in zip(tokens, read, (4, 2), strict=True):
        rows = [y * 4 + x for y in range(3) for x in range(columns)]
        state = sample[rows]
        if with_position:
            state = state + sine_positions(*shape, WIDTH)[rows]
        for number in range(2):
            layer = below(weights, f"layers.layers.{number}.")
            normed = F.layer_norm(state, (WIDTH,), layer["norm1.weight"], layer["norm1.bias"])
            state = state + attend(below(layer, "self_attn."), 4, normed)
            normed = F.layer_norm(state, (WIDTH,), layer["norm2.weight"], layer["norm2.bias"])
            hidden = F.gelu(normed @ layer["linear1.weight"].T + layer["linear1.bias"])
            state = state + hidden @ layer["linear2.weight"].T + layer["linear2.bias"]
        norm = below(weights, "layers.norm.")
        out[rows] = F.layer_norm(state, (WIDTH,), norm["weight"], norm["bias"])
    found = neck(tokens, shape, [1.0, 0.5])
    neck.layers = None  # what the queries then make of it is tested above
    expected = neck(read, shape, [1.0, 0.5])
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_layers_compute_the_same_in_training() -> None:
    neck, tokens = fmu(num_layers=2, dropout=0.0), torch.randn(2, 12, WIDTH)
    with torch.no_grad():  # where torch takes a fast path of its own
        expected = neck(tokens, (3, 4), [1.0, 0.5])
    found = neck.train()(tokens, (3, 4), [1.0, 0.5])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_paper_has_no_layers() -> None:
    assert not any(name.startswith("layers") for name in fmu().state_dict())


def test_attention_sums_to_one_and_is_zero_on_padding() -> None:
    neck, tokens = fmu(), torch.randn(2, 12, WIDTH)
    memory, attention = neck(tokens, (3, 4), [1.0, 0.5], return_attention=True)
    assert attention.shape == (2, 5, 3, 4)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 5))
    assert (attention[0] > 0).all()
    assert (attention[1, :, :, :2] > 0).all()
    assert (attention[1, :, :, 2:] == 0).all()
    torch.testing.assert_close(memory, neck(tokens, (3, 4), [1.0, 0.5]))


@pytest.mark.parametrize("queries", [1, 26, 40])
def test_one_slot_a_query(queries: int) -> None:
    neck = fmu(num_queries=queries)
    assert neck.num_queries == queries
    assert neck(torch.randn(2, 3, WIDTH), (1, 3)).shape == (2, queries, WIDTH)


def test_the_paper_has_26_queries_and_they_are_initialised() -> None:
    torch.manual_seed(0)
    neck = MODELS.build({"type": "FMU", "embed_dims": 512})
    assert neck.queries.shape == (26, 512)
    assert neck.queries.std().item() == pytest.approx(0.02, rel=0.2)


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="8 heads do not divide 36 channels"):
        FMU(embed_dims=36)


def test_every_parameter_learns() -> None:
    neck = FMU(embed_dims=WIDTH, num_heads=4, num_layers=2).train()
    neck(torch.randn(2, 12, WIDTH), (3, 4), [1.0, 0.5]).square().sum().backward()
    silent = [k for k, v in neck.named_parameters() if v.grad is None or not v.grad.any()]
    assert silent == []


def test_dropout_is_only_for_training() -> None:
    neck, tokens = FMU(embed_dims=WIDTH, num_heads=4, dropout=0.5), torch.randn(1, 4, WIDTH)
    assert not torch.equal(neck(tokens, (1, 4)), neck(tokens, (1, 4)))
    neck.eval()
    torch.testing.assert_close(neck(tokens, (1, 4)), neck(tokens, (1, 4)), rtol=0, atol=0)


def test_positions_are_the_golden_ones() -> None:
    # 8 channels: 2 frequencies, 1 and 1/100, an axis; sines, then cosines; rows, then columns
    s, c = math.sin, math.cos
    still = [0.0, 0.0, 1.0, 1.0]
    one = [s(1), s(0.01), c(1), c(0.01)]
    two = [s(2), s(0.02), c(2), c(0.02)]
    expected = [still + still, still + one, still + two, one + still, one + one, one + two]
    found = sine_positions(2, 3, 8)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(expected))


def test_positions_of_a_larger_grid_go_on() -> None:
    small, large = sine_positions(2, 3, 32), sine_positions(5, 40, 32)
    torch.testing.assert_close(large.view(5, 40, 32)[:2, :3].flatten(0, 1), small)
    assert len(large.unique(dim=0)) == 200


def test_positions_of_a_sequence_are_the_golden_ones() -> None:
    s, c = math.sin, math.cos
    expected = [[0, 0, 1, 1], [s(1), s(0.01), c(1), c(0.01)], [s(2), s(0.02), c(2), c(0.02)]]
    torch.testing.assert_close(sinusoids(3, 4), torch.tensor(expected))
    with pytest.raises(ValueError, match="even number of channels, found 5"):
        sinusoids(3, 5)


def test_positions_need_a_multiple_of_four_channels() -> None:
    with pytest.raises(ValueError, match="multiple of 4 channels, found 6"):
        sine_positions(2, 3, 6)
