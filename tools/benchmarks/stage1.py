# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Labels a second of our stage 1 against the way of DPTR's authors, in one run.

All rows train the same decoder on the same words with the same batch, optimizer wrapper and loss
(targets padded to the longest label of a batch), in turn, several times; what counts is the ratio
of the medians. CLIP has random weights, which cost what trained ones do.

The authors' way, after their public code: every step tokenizes its labels, runs open_clip's plain
forward on all 77 positions, adds the noise to all 78 slots of memory, and averages the loss over 6
permutations. MMOCR has no permutation decoder: NRTR's is causal, with one order of its targets. So
the row runs K = 6 whole forward passes of the same decoder on the same memory and targets, and
averages their losses before one backward pass. A second row does without the repetition: what is
left is CLIP in every step.

Ours reads a store that was written before, in the training process itself, so that reading costs
its full time; "live" computes the embeddings instead of reading them.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import LabelData
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from reporting import markdown, parse_arguments, write_report
from torch import Tensor, nn

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, load_clip
from mmdptr.clip.loading import PRECISIONS
from mmdptr.clip.text_towers import causal_text_tower
from mmdptr.datasets import LabelFilter, iter_corpus
from mmdptr.datasets.text_embeddings import TextEmbeddings
from mmdptr.embeddings import ORPBank, ORPBankWriter, TextEmbeddingStore
from mmdptr.engine.pretrain_config import build_pretrain_config, config_folder
from mmdptr.extraction import LiveTextEmbeddings, extract_text_embeddings
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.models import DPTRPretrainer
from mmdptr.writing import read_alphabet

AUTHORS, ONE_PASS = "authors' way", "CLIP in every step, one pass"
LIVE, STORE = "mmdptr, live", "mmdptr, store"
PASSES = {AUTHORS: 6, ONE_PASS: 1}
IMAGES, IMAGE_TOKENS = 64, 197
CLIP_ARGUMENTS = ("model", "pretrained", "precision")
WRAPPERS = {"fp32": "OptimWrapper", "bf16": "BF16OptimWrapper"}


class AuthorsMemory(nn.Module):
    """Data preprocessor that makes the authors' memory of a batch of labels.

    Args:
        encoder (CLIPTextEncoder): Gives the prompt and open_clip's model, not its own arithmetic.
        noise (Tensor): Features of B images with T tokens, of shape (B, T, D).
        scale (float): Weight of the noise. Defaults to 0.1.
    """

    def __init__(self, encoder: CLIPTextEncoder, noise: Tensor, scale: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.noise = noise
        self.scale = scale

    @torch.no_grad()
    def encode(self, labels: Sequence[str]) -> Tensor:
        """Return the pooled feature and the 77 token features of N labels: (N, 78, D)."""
        clip, prompt = self.encoder.clip, self.encoder.prompt
        model: Any = clip.model
        tokens: list[Tensor] = []
        hook = causal_text_tower(clip).ln_final.register_forward_hook(
            lambda module, inputs, output: tokens.append(output)
        )
        with torch.autocast(clip.device.type, enabled=False):
            pooled = model.encode_text(clip.tokenizer([prompt(label) for label in labels]))
        hook.remove()
        return torch.cat([pooled[:, None], *tokens], dim=1).float()

    def forward(self, labels: Sequence[str], training: bool = False) -> dict[str, Any]:
        """Return memory (N, 78, D) with noise: an image a label, the same positions for all."""
        memory = self.encode(labels)
        images = torch.randint(len(self.noise), (len(memory), 1))
        positions = torch.randperm(self.noise.shape[1])[: memory.shape[1]]
        samples = [TextRecogDataSample(gt_text=LabelData(item=label)) for label in labels]
        for sample in samples:
            sample.set_metainfo({"valid_ratio": 1.0})
        inputs = memory + self.scale * self.noise[images, positions]
        return {"inputs": inputs, "data_samples": samples}


class AuthorsWay(DPTRPretrainer):
    """Runs the decoder several times a step; memory has no positions of its own.

    Args:
        passes (int): How many times.
        **kwargs: Arguments of :class:`DPTRPretrainer`.
    """

    def __init__(self, passes: int, **kwargs: Any) -> None:
        super().__init__(with_position=False, **kwargs)
        self.passes = passes

    def loss(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Calculate the mean loss of all passes over text embeddings (N, L, D)."""
        memory = self._arrange(self.extract_feat(inputs), data_samples)
        loss = self.decoder.module_loss
        targets = loss.get_targets(data_samples)
        losses = [
            loss(self.decoder.forward_train(**memory, data_samples=targets), targets)["loss_ce"]
            for _ in range(self.passes)
        ]
        return {"loss_ce": torch.stack(losses).mean()}


def load_recognizer(config: Path | None) -> dict[str, Any]:
    """Return the model of a recognizer's config file, by default that of full-size NRTR."""
    return Config.fromfile(config or config_folder() / "dptr_nrtr.py").model


def choose_words(corpus: str | Path, number: int, recognizer: dict[str, Any]) -> list[str]:
    """Return words of a corpus that the recognizer can read, spread evenly.

    Raises:
        ValueError: The corpus has fewer.
    """
    characters = set(read_alphabet(recognizer["decoder"]["dictionary"]["dict_file"]))
    words = list(LabelFilter(characters - {" "})(iter_corpus(corpus)))
    if len(words) < number:
        raise ValueError(f"{corpus} has {len(words)} usable words, expected {number}: use another.")
    return words[:: len(words) // number][:number]


def write_store(
    folder: Path, words: Sequence[str], encoder: CLIPTextEncoder
) -> tuple[Path, TextEmbeddingStore]:
    """Write the words to a file and their embeddings to a store; return both."""
    corpus = folder / "words.txt"
    corpus.write_text("\n".join(words) + "\n", encoding="utf-8")
    extract_text_embeddings([corpus], folder / "store", encoder, LabelFilter())
    return corpus, TextEmbeddingStore(folder / "store")


def write_bank(folder: Path, encoder: CLIPTextEncoder) -> tuple[Tensor, ORPBank]:
    """Write random features of the size of ViT-B/16's to a bank; return both."""
    noise = torch.randn(IMAGES, IMAGE_TOKENS, encoder.pooled_width)
    with ORPBankWriter(folder / "bank", {"clip": encoder.clip.identity.to_dict()}) as writer:
        writer.add_images("images-00000", noise)
        writer.finish(num_images=IMAGES)
    return noise, ORPBank(folder / "bank")


def stage1_config(
    recognizer: dict[str, Any],
    embeddings: TextEmbeddings,
    bank: ORPBank | None,
    batch: int,
    workers: int = 0,
) -> Config:
    """Return the config that DPTRPretrainHook trains by, on endless batches of all words."""
    cfg = build_pretrain_config(recognizer, embeddings, bank)
    cfg.train_dataloader.update(
        batch_size=batch, num_workers=workers, persistent_workers=workers > 0
    )
    cfg.train_dataloader.sampler = {"type": "InfiniteSampler", "shuffle": True}
    cfg.train_dataloader.dataset.split = "all"
    return cfg


class Way:
    """A way to train: a model, its batches and its optimizer."""

    def __init__(self, model: BaseModel, batches: Iterator[Any], optimizer: dict[str, Any]) -> None:
        self.model = model.train()
        self.batches = batches
        self.optim_wrapper: OptimWrapper = build_optim_wrapper(model, optimizer)

    def seconds(self, steps: int) -> float:
        """Train for some steps; return how long they took."""
        begin = time.perf_counter()
        for _ in range(steps):
            self.model.train_step(next(self.batches), self.optim_wrapper)
        return time.perf_counter() - begin


def build_ways(
    folder: Path,
    words: Sequence[str],
    clip: LoadedCLIP,
    recognizer: dict[str, Any],
    batch: int,
    precision: str,
) -> dict[str, Way]:
    """Build all ways by the names of their rows, with the data that they read."""
    encoder = CLIPTextEncoder(clip)
    corpus, store = write_store(folder, words, encoder)
    noise, bank = write_bank(folder, encoder)
    clip_config = {name: getattr(clip.identity, name) for name in CLIP_ARGUMENTS}
    live = LiveTextEmbeddings.shared(corpora=[str(corpus)], clip=clip_config)
    ways = {}
    for name in (AUTHORS, ONE_PASS, LIVE, STORE):
        cfg = stage1_config(recognizer, live if name == LIVE else store, bank, batch)
        cfg.optim_wrapper.type = WRAPPERS[precision]
        batches: Iterator[Any]
        if name in PASSES:
            memory = AuthorsMemory(encoder, noise)
            settings = {"type": AuthorsWay, "passes": PASSES[name], "data_preprocessor": memory}
            model = MODELS.build({**cfg.model, **settings})
            starts = range(0, len(words) - batch + 1, batch)
            batches = itertools.cycle([words[i : i + batch] for i in starts])
        else:
            model = MODELS.build(cfg.model)
            batches = iter(Runner.build_dataloader(cfg.train_dataloader))
        ways[name] = Way(model, batches, cfg.optim_wrapper)
    return ways


def compare(ways: dict[str, Way], batch: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """Measure all ways in turn; one row each."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way.seconds(1)  # warms up
    for _ in range(repeats):
        for name, way in ways.items():
            rates[name].append(steps * batch / way.seconds(steps))
    medians = {name: statistics.median(column) for name, column in rates.items()}
    return [
        {
            "way": name,
            "labels_per_s": round(medians[name], 2),
            "ratio_of_medians": round(medians[name] / medians[AUTHORS], 2),
            "repeats_labels_per_s": column,
        }
        for name, column in rates.items()
    ]


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="word list, e.g. en_vocabulary_90k.txt")
    parser.add_argument("--config", type=Path, help="recognizer; default: our dptr_nrtr.py")
    parser.add_argument("--model", default="ViT-B-16", help="CLIP; default: %(default)s")
    parser.add_argument(
        "--clip-precision",
        choices=PRECISIONS,
        default="fp32",
        help="default: %(default)s, in which a CPU runs open_clip's plain forward as fast",
    )
    parser.add_argument("--precision", choices=WRAPPERS, default="fp32", help="of the decoder")
    parser.add_argument("--labels", type=int, default=1024, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=2, help="a repeat; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    recognizer = load_recognizer(args.config)
    if args.labels < args.batch:
        raise ValueError(f"--labels is {args.labels}, expected --batch ({args.batch}) or more.")
    words = choose_words(args.corpus, args.labels, recognizer)
    clip = load_clip(args.model, "random", precision=args.clip_precision)
    with tempfile.TemporaryDirectory() as folder:
        ways = build_ways(Path(folder), words, clip, recognizer, args.batch, args.precision)
        rows = compare(ways, args.batch, args.steps, args.repeats)
    cells = [
        {
            f"{args.precision}, batch of {args.batch}": row["way"],
            "labels/s": f"{row['labels_per_s']:.1f}",
            "ratio of medians": f"{row['ratio_of_medians']:.1f}",
        }
        for row in rows
    ]
    print(markdown(cells))
    write_report(
        args.json,
        rows,
        decoder=recognizer["decoder"]["type"],
        clip=args.model,
        clip_precision=args.clip_precision,
        precision=args.precision,
        batch=args.batch,
    )


if __name__ == "__main__":
    main()
