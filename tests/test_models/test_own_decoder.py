# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A decoder that nobody here knows gets both stages: what docs/your_own_decoder.md shows."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmocr.registry import MODELS

from mmdptr.engine import load_decoder
from mmdptr.models import find_memory_layout
from mmdptr.models.memory import registry
from tests.builders import END, MAX_SEQ_LEN, WIDTH, dictionary, nrtr, sample, spelled, words

PAGE = Path(__file__).parents[2] / "docs" / "your_own_decoder.md"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the code of the page, as a user's package would."""
    monkeypatch.setattr(registry, "_LAYOUTS", dict(registry._LAYOUTS))
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    exec(code[1], {})
    yield
    MODELS._module_dict.pop("GRUDecoder")


def decoder() -> dict[str, Any]:
    return {
        "type": "GRUDecoder",
        "in_channels": WIDTH,
        "max_seq_len": MAX_SEQ_LEN,
        "dictionary": dictionary(with_end=True, with_padding=True),
        "module_loss": {"type": "CEModuleLoss"},
        "postprocessor": {"type": "AttentionPostprocessor"},
    }


@pytest.mark.usefixtures("page")
def test_own_decoder_learns_to_spell_and_loads_into_its_recognizer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS.build({"type": "DPTRPretrainer", "decoder": decoder(), "embed_dims": 24})
    texts = words(16)
    batch = {
        "inputs": [spelled(text, 24) for text in texts],
        "data_samples": [
            sample(text, memory_length=len(text) + 1, token_ids=np.array([*map(ord, text), END]))
            for text in texts
        ],
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        losses = model.train()(**model.data_preprocessor(batch, training=True), mode="loss")
        optimizer.zero_grad()
        losses["loss_ce"].backward()
        optimizer.step()
    read = model.eval()(**model.data_preprocessor(batch), mode="predict")
    assert [x.pred_text.item for x in read] == texts

    description = {"dictionary": model.decoder.dictionary.dict}
    content = {"meta": {"dptr": description}, "state_dict": model.state_dict()}
    torch.save(content, tmp_path / "epoch_1.pth")
    recognizer = MODELS.build(nrtr(neck={"type": "FMU"}, decoder=decoder()))
    coverage = load_decoder(recognizer, tmp_path / "epoch_1.pth")
    assert coverage.loaded == len(model.decoder.state_dict()) == 10
    assert coverage.slots == MAX_SEQ_LEN
    images, samples = torch.randn(2, 3, 32, 64), [sample("dog"), sample("cat")]
    recognizer.train().loss(images, samples)["loss_ce"].mean().backward()
    assert all(p.grad is not None for p in recognizer.parameters())
    read = recognizer.eval().predict(images, samples)
    assert all(isinstance(x.pred_text.item, str) for x in read)


@pytest.mark.usefixtures("page")
def test_page_registers_a_layout() -> None:
    layout = find_memory_layout(decoder())
    assert (layout.site, layout.form, layout.width_of(decoder())) == ("out_enc", "sequence", WIDTH)
