# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.engine import load_decoder
from mmdptr.engine.dictionary_remapping import remap_classes
from mmdptr.engine.hooks.dptr_export_hook import _describe
from tests.builders import CHARACTERS, MAX_SEQ_LEN, dictionary, nrtr, nrtr_decoder, sample

CONFIGS = Path(__file__).parents[2] / "configs" / "mini"


def test_rows_and_columns_follow_their_characters() -> None:
    loaded = {
        "cls.weight": torch.arange(12.0).view(3, 4),
        "proj.weight": torch.arange(6.0).view(2, 3),
        "norm.weight": torch.ones(4),
    }
    expected = {
        "cls.weight": torch.full((4, 4), -1.0),
        "proj.weight": torch.full((2, 4), -1.0),
        "norm.weight": torch.zeros(4),
    }
    found = remap_classes(loaded, expected, ["a", "b", "<PAD>"], ["b", "x", "<PAD>", "a"])
    assert found["cls.weight"].tolist() == [[4, 5, 6, 7], [-1] * 4, [8, 9, 10, 11], [0, 1, 2, 3]]
    assert found["proj.weight"].tolist() == [[1, -1, 2, 0], [4, -1, 5, 3]]
    assert torch.equal(found["norm.weight"], torch.ones(4))


def test_what_cannot_be_told_apart_is_refused() -> None:
    square = {"cls.weight": torch.randn(3, 3)}
    with pytest.raises(ValueError, match=r"cls.weight has shape \(3, 3\) there and \(3, 3\) here"):
        remap_classes(square, square, ["a", "b", "c"], ["c", "b", "a"])


def rows() -> list[str]:
    """The small recognizers; those of other languages have NRTR's decoder."""
    files = sorted(path.name for path in CONFIGS.glob("dptr_*_mini.py"))
    return [name for name in files if "bengali" not in name and "chinese" not in name]


@pytest.mark.parametrize("name", rows())
def test_every_decoder_says_the_same_of_characters_in_another_order(
    name: str, tmp_path: Path
) -> None:
    """Teacher-forced logits of a character follow it to its new class."""
    cfg = Config.fromfile(CONFIGS / name).model.to_dict()
    dict_file = tmp_path / "reversed.txt"
    dict_file.write_text("\n".join(reversed(CHARACTERS + "éß")))
    torch.manual_seed(0)
    pretrainer = MODELS.build(
        {
            "type": "DPTRPretrainer",
            "decoder": cfg["decoder"],
            "encoder": cfg.get("encoder"),
            "memory": cfg.get("memory"),
        }
    )
    torch.save(
        {"meta": {"dptr": _describe(pretrainer)}, "state_dict": pretrainer.state_dict()},
        tmp_path / "decoder.pth",
    )
    cfg["decoder"]["dictionary"]["dict_file"] = str(dict_file)
    recognizer = MODELS.build(cfg)
    with pytest.raises(ValueError, match=r"remap_dictionary=True"):
        load_decoder(recognizer, tmp_path / "decoder.pth")
    load_decoder(recognizer, tmp_path / "decoder.pth", remap_dictionary=True)

    theirs, ours = (x.decoder.dictionary for x in (pretrainer, recognizer))
    for key, tensor in recognizer.decoder.state_dict().items():
        old = pretrainer.decoder.state_dict()[key]
        assert torch.equal(on(tensor, theirs.dict, ours.dict), old) or key.endswith(
            ("running_mean", "running_var", "num_batches_tracked")
        )


def on(tensor: Tensor, theirs: list[str], ours: list[str]) -> Tensor:
    """A tensor of the new dictionary, reduced to the old one and its order."""
    for dim, size in enumerate(tensor.shape):
        if size == len(ours):
            return tensor.index_select(dim, torch.tensor([ours.index(x) for x in theirs]))
    return tensor


def test_decoder_reads_the_same_text(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pretrainer = MODELS.build(
        {"type": "DPTRPretrainer", "decoder": nrtr_decoder(), "embed_dims": 64}
    )
    torch.save(
        {"meta": {"dptr": _describe(pretrainer)}, "state_dict": pretrainer.state_dict()},
        tmp_path / "decoder.pth",
    )
    (tmp_path / "other.txt").write_text("\n".join(reversed(CHARACTERS)))
    recognizer = MODELS.build(
        nrtr(decoder=nrtr_decoder(dictionary=dictionary(tmp_path / "other.txt")))
    )
    load_decoder(recognizer, tmp_path / "decoder.pth", remap_dictionary=True)
    memory = torch.randn(8, MAX_SEQ_LEN, 64)
    read = [
        [
            x.pred_text.item
            for x in model.eval().decoder.predict(
                None, memory, [sample("x", valid_ratio=1.0) for _ in memory]
            )
        ]
        for model in (pretrainer, recognizer)
    ]
    assert read[0] == read[1]
    assert len({*read[0]}) > 1
