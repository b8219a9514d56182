# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from typing import Any

import torch
from mmocr.models.textrecog.decoders import SequentialSARDecoder
from mmocr.registry import MODELS
from torch import Tensor, nn

from mmdptr.models import find_memory_layout
from tests.builders import dictionary, sample

SIZES: dict[str, Any] = {"d_model": 8, "d_enc": 8, "d_k": 4, "max_seq_len": 6}


def config(decoder_type: str, **changes: Any) -> dict[str, Any]:
    loss = {"type": "CEModuleLoss", "ignore_first_char": True}
    base = {"type": decoder_type, "dictionary": dictionary(), "module_loss": loss}
    return {**base, **SIZES, **changes}


def build(decoder_type: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(config(decoder_type, **changes)).train()


def logits(decoder: nn.Module) -> tuple[Tensor, Tensor, Tensor, list[Any]]:
    torch.manual_seed(1)
    feat, holistic = torch.randn(2, 8, 1, 5), torch.randn(2, 8)
    samples = [sample("dog"), sample("c4ts")]
    return decoder(feat, holistic, samples), feat, holistic, samples


def test_hidden_states_are_those_of_two_stacked_lstms() -> None:
    decoder = build("StatefulSARDecoder")
    met: list[Tensor] = []
    decoder.conv1x1_1.register_forward_pre_hook(lambda _, x: met.append(x[0].flatten(1)))
    _, _, holistic, samples = logits(decoder)
    # torch's own LSTM of two layers, with the same weights, over the same inputs
    lstm = nn.LSTM(8, 8, num_layers=2, batch_first=True)
    cells = (decoder.rnn_decoder_layer1, decoder.rnn_decoder_layer2)
    for layer, cell in enumerate(cells):
        for name, value in cell.named_parameters():
            getattr(lstm, f"{name}_l{layer}").data.copy_(value)
    targets = torch.stack([x.gt_text.padded_indexes for x in samples])
    inputs = torch.cat([holistic[:, None], decoder.embedding(targets)], dim=1)
    torch.testing.assert_close(torch.stack(met, dim=1), lstm(inputs)[0][:, 1:])


def test_first_character_is_mmocrs_and_later_ones_are_not() -> None:
    ours, theirs = build("StatefulSARDecoder"), build("SequentialSARDecoder")
    theirs.load_state_dict(ours.state_dict())
    found, expected = logits(ours)[0], logits(theirs)[0]
    torch.testing.assert_close(found[:, 0], expected[:, 0])  # the state of the start is right
    assert not any(torch.allclose(found[:, i], expected[:, i]) for i in range(1, 6))


def test_it_is_a_sequential_sar_decoder() -> None:
    assert issubclass(MODELS.get("StatefulSARDecoder"), SequentialSARDecoder)
    sequential = find_memory_layout(config("SequentialSARDecoder"))
    assert find_memory_layout(config("StatefulSARDecoder")) == sequential
