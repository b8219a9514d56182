# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Time of our decoders with a key/value cache against MMOCR's own ``predict``, in one run.

Both have the same random weights and full size, and read the same random memories in turn, several
times; what counts is the ratio of the medians. Random weights know no words, so a bias on the end
token, by position, gives each sample a length: 1 + Poisson(5), about 6 characters. A second row has
no ends, and so no early stop. MMOCR decodes all positions in either case; it is timed with ends. In
both cases the texts are compared, too.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import mmocr
import torch
from mmengine.registry import init_default_scope
from reporting import markdown, parse_arguments, write_report
from torch import Tensor, nn

from mmdptr.extraction.arguments import exit_with_message

DICT_FILE = Path(__file__).parents[2] / "configs" / "_base_" / "dicts" / "lower_english_digits.txt"
SLOTS = {"NRTRDecoder": 30, "MasterDecoder": 240}
"""dict[str, int]: Memory of each decoder: the FMU's slots, and MASTER's 6 x 40 feature map."""


class WordEnds:
    """Forward hook of a classifier that ends each word after its number of characters.

    Args:
        lengths (Tensor): Numbers of characters, of shape (N,).
        decoder (nn.Module): Its dictionary names the end and the padding token; the latter is never
            read, as after training.
    """

    def __init__(self, lengths: Tensor, decoder: Any) -> None:
        self.lengths = lengths
        self.end = decoder.dictionary.end_idx
        self.padding = decoder.dictionary.padding_idx
        self.calls = 0

    def __call__(self, module: nn.Module, inputs: object, logits: Tensor) -> None:
        """Bias logits (N, K) of one step, or (N, t, K) of all t steps up to it."""
        self.calls += 1
        steps = logits.view(len(logits), -1, logits.shape[-1])
        positions = torch.arange(self.calls - steps.shape[1], self.calls)
        steps[..., self.end] = torch.where(positions >= self.lengths[:, None], 1e4, -1e4)
        steps[..., self.padding] = -1e4


def build(decoder_type: str) -> Any:
    """Build a decoder of full size: its class's own defaults."""
    tokens = ("with_start", "with_end", "same_start_end", "with_padding", "with_unknown")
    dictionary = {"type": "Dictionary", "dict_file": str(DICT_FILE), **dict.fromkeys(tokens, True)}
    postprocessor = {"type": "AttentionPostprocessor"}
    return mmocr.registry.MODELS.build(
        {"type": decoder_type, "dictionary": dictionary, "postprocessor": postprocessor}
    ).eval()


@torch.inference_mode()
def predict(decoder: Any, memory: Tensor, lengths: Tensor) -> tuple[float, list[str]]:
    """Return the seconds of a reading, and the texts."""
    samples = [mmocr.structures.TextRecogDataSample() for _ in memory]
    for sample in samples:
        sample.set_metainfo({"valid_ratio": 1.0})
    classifier = next(x for x in decoder.children() if isinstance(x, nn.Linear))
    hook = classifier.register_forward_hook(WordEnds(lengths, decoder))
    begin = time.perf_counter()
    read = decoder.predict(memory, memory, samples)
    seconds = time.perf_counter() - begin
    hook.remove()
    return seconds, [sample.pred_text.item for sample in read]


def compare(name: str, batch: int, repeats: int) -> list[dict]:
    """Measure both decoders in turn; one row with ends and one without."""
    theirs, ours = build(name), build(f"Cached{name}")
    ours.load_state_dict(theirs.state_dict())
    memory = torch.randn(batch, SLOTS[name], 512)
    lengths = 1 + torch.poisson(torch.full((batch,), 5.0))
    endless = torch.full_like(lengths, ours.max_seq_len)
    few = min(batch, 4)
    for case in (lengths[:few], endless[:few]):  # also warms up
        if predict(ours, memory[:few], case)[1] != predict(theirs, memory[:few], case)[1]:
            raise ValueError(f"Cached{name} and {name} read different texts.")
    seconds: dict[str, list[float]] = {"mmocr": [], "ends": [], "no ends": []}
    for _ in range(repeats):
        peer, peer_texts = predict(theirs, memory, lengths)
        ended, texts = predict(ours, memory, lengths)
        if texts != peer_texts:
            raise ValueError(f"Cached{name} and {name} read different texts.")
        for column, value in zip(
            seconds.values(), (peer, ended, predict(ours, memory, endless)[0]), strict=True
        ):
            column.append(value)
    medians = {key: statistics.median(column) for key, column in seconds.items()}
    return [
        {
            "decoder": name,
            "words": words,
            "mmocr_s": round(medians["mmocr"], 3),
            "mmdptr_s": round(medians[case], 3),
            "ratio_of_medians": round(medians["mmocr"] / medians[case], 1),
            "repeats_s": {"mmocr": seconds["mmocr"], "mmdptr": seconds[case]},
        }
        for case, words in (
            ("ends", f"{lengths.mean():.1f} characters, the longest {lengths.max():.0f}"),
            ("no ends", f"no ends: {ours.max_seq_len} steps"),
        )
    ]


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoders", nargs="+", choices=SLOTS, default=["NRTRDecoder"])
    parser.add_argument("--batch", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    torch.manual_seed(args.seed)
    rows = [row for name in args.decoders for row in compare(name, args.batch, args.repeats)]
    cells = [
        {
            f"decoder, batch of {args.batch}": row["decoder"],
            "words": row["words"],
            "MMOCR": f"{row['mmocr_s']:.2f} s",
            "mmdptr": f"{row['mmdptr_s']:.2f} s",
            "ratio": f"{row['ratio_of_medians']:.1f}",
        }
        for row in rows
    ]
    print(markdown(cells))
    write_report(args.json, rows, batch=args.batch)


if __name__ == "__main__":
    main()
