# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Small stores, banks and configs; nothing here needs CLIP."""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.structures import LabelData
from mmocr.structures import TextRecogDataSample
from torch import Tensor

from mmdptr.embeddings import ORPBankWriter, TextEmbeddingWriter

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
DICT_FILE = Path(__file__).parents[1] / "configs" / "_base_" / "dicts" / "lower_english_digits.txt"
WIDTH = 64
MAX_SEQ_LEN = 12
END = 0x250


def words(number: int, seed: int = 0, longest: int = 8) -> list[str]:
    """Different words over CHARACTERS."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        found["".join(rng.choices(CHARACTERS, k=rng.randint(1, longest)))] = None
    return list(found)


def clip_identity(sha256: str) -> dict[str, Any]:
    return {"model": "fake", "pretrained": "random", "weights_sha256": sha256}


def spelled(label: str, width: int) -> Tensor:
    """Features (L + 1, D) that spell a label: character plus position, then an end."""
    tables = torch.Generator().manual_seed(1)
    positions = torch.randn(80, width, generator=tables)
    characters = torch.randn(0x250, width, generator=tables)
    rows = [characters[ord(x)] + positions[i] for i, x in enumerate(label)]
    return torch.stack([*rows, positions[79]]).half().float()


def write_store(
    folder: Path,
    labels: Sequence[str],
    width: int = WIDTH,
    clip: str = "a",
    keep_padding: bool = False,
    shard_size: int = 1000,
    spelling: str = "word",
) -> Path:
    """A text-embedding store; the memory of a label of n characters has n + 2 slots."""
    source = {
        "clip": clip_identity(clip),
        "prompt": {"template": "{}", "spelling": spelling},
        "keep_padding": keep_padding,
        "labels": list(labels),
    }
    with TextEmbeddingWriter(folder, source) as writer:
        writer.add_prefix(torch.full((5, width), 7.0), torch.arange(5))
        for begin in range(0, len(labels), shard_size):
            shard = labels[begin : begin + shard_size]
            tokens = [spelled(label, width) for label in shard]
            writer.add_labels(
                f"labels-{begin // shard_size:05d}",
                shard,
                pooled=torch.stack([x.mean(0) for x in tokens]),
                tokens=torch.cat(tokens),
                lengths=torch.tensor([len(x) for x in tokens]),
                prefix_lengths=torch.full((len(shard),), 5),
                token_ids=torch.tensor([i for label in shard for i in [*map(ord, label), END]]),
            )
        writer.finish(
            num_labels=len(labels),
            characters="".join(sorted(set("".join(labels)))),
            max_label_length=max(map(len, labels)),
        )
    return folder


def write_bank(
    folder: Path, images: int = 20, tokens: int = 197, width: int = WIDTH, clip: str = "a"
) -> Path:
    """An ORP bank in two shards; channel 0 is the number of the image, the others the position."""
    features = torch.arange(tokens)[None, :, None].repeat(images, 1, width).float()
    features[:, :, 0] = torch.arange(images)[:, None]
    with ORPBankWriter(folder, {"clip": clip_identity(clip), "tokens": tokens}) as writer:
        writer.add_images("images-00000", features[: images // 2])
        writer.add_images("images-00001", features[images // 2 :])
        writer.finish(num_images=images)
    return folder


def dictionary(dict_file: Path = DICT_FILE, **tokens: Any) -> dict[str, Any]:
    """The config of a dictionary; NRTR's special tokens unless told."""
    tokens = tokens or {
        "with_start": True,
        "with_end": True,
        "same_start_end": True,
        "with_padding": True,
        "with_unknown": True,
    }
    return {"type": "Dictionary", "dict_file": str(dict_file), **tokens}


def nrtr_decoder(**changes: Any) -> dict[str, Any]:
    """The config of a tiny NRTR decoder without dropout; a new one each time."""
    return {
        "type": "NRTRDecoder",
        "n_layers": 1,
        "d_embedding": WIDTH,
        "d_model": WIDTH,
        "n_head": 4,
        "d_k": WIDTH // 4,
        "d_v": WIDTH // 4,
        "d_inner": 2 * WIDTH,
        "dropout": 0.0,
        "max_seq_len": MAX_SEQ_LEN,
        "dictionary": dictionary(),
        "module_loss": {"type": "CEModuleLoss", "ignore_first_char": True, "flatten": True},
        "postprocessor": {"type": "AttentionPostprocessor"},
        **changes,
    }


def nrtr(model_type: str = "DPTRRecognizer", **changes: Any) -> dict[str, Any]:
    """The config of a tiny NRTR for images of 32 pixels height."""
    return {
        "type": model_type,
        "backbone": {"type": "ConvStem", "channels": [4, 8, 16, 32, WIDTH]},
        "encoder": {
            "type": "NRTREncoder",
            "n_layers": 1,
            "n_head": 4,
            "d_k": WIDTH // 4,
            "d_v": WIDTH // 4,
            "d_model": WIDTH,
            "d_inner": 2 * WIDTH,
            "dropout": 0.0,
        },
        "decoder": nrtr_decoder(),
        "data_preprocessor": {
            "type": "TextRecogDataPreprocessor",
            "mean": [127.0] * 3,
            "std": [127.0] * 3,
        },
        **changes,
    }


def sample(text: str, **meta: Any) -> TextRecogDataSample:
    """A data sample with a label."""
    result = TextRecogDataSample(gt_text=LabelData(item=text))
    result.set_metainfo(meta)
    return result


def squeeze(table: str) -> str:
    """A Markdown table whose cells are not filled up with spaces."""
    return re.sub(" {2,}", " ", table)


def lone_runner(model: torch.nn.Module, work_dir: Path) -> Any:
    """As much of a runner as writes a decoder, with no hook but the one that is called."""
    return SimpleNamespace(model=model, work_dir=work_dir, call_hook=lambda *_, **__: None)
