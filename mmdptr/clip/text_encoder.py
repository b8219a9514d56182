# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's text encoder as a source of pseudo visual memory."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .loading import LoadedCLIP
from .prompt import Prompt
from .sentences import sentences_of
from .text_towers import build_text_tower

EXCEEDS_CONTEXT = "exceeds CLIP context"
UNKNOWN_TOKENS = "holds tokens that the CLIP weights do not know"

MAX_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""dict[str, int]: Tokens that run together: what a CPU's caches hold, what keeps a GPU busy."""


@dataclass(frozen=True)
class TextFeatures:
    """Features of N labels with T own tokens in all, of width D (joint space: width J).

    Args:
        pooled (Tensor): Projected EOT features of shape (N, J): what ``encode_text`` returns.
        tokens (Tensor): Own token features after ``ln_final``, one label behind the other, of
            shape (T, D), or (T, J) with ``joint_space``.
        lengths (Tensor): Own tokens a label, int64 of shape (N,); they sum up to T.
        prefix_lengths (Tensor): Tokens of the common prefix that stand before a label's own
            tokens, int64 of shape (N,). Shorter than the whole prefix where the tokenizer merges
            its end with the label's beginning, as in ``'s``.
        token_ids (Tensor): What CLIP's tokenizer calls the own tokens, int64 of shape (T,); 0
            behind EOT.
    """

    pooled: Tensor
    tokens: Tensor
    lengths: Tensor
    prefix_lengths: Tensor
    token_ids: Tensor


class CLIPTextEncoder:
    """Computes the text features of DPTR (arXiv 2408.05706, section 3), and nothing else.

    The numbers are those of open_clip's own forward, but CLIP's causal mask lets most of the work
    be left out: the prompt's prefix runs once, padding behind the end-of-text token (EOT) never
    changes what stands before it, and labels of one length run together without padding. Other
    towers run as their attention asks for: those of Hugging Face's transformers, which mask
    padding, on whole sentences, and those that see it, such as SigLIP's, on the whole context.

    CLIP's tokenizer lower-cases: labels that differ in case alone have the same features. Others
    keep the case, or drop punctuation (SigLIP).

    Args:
        clip (LoadedCLIP): The CLIP to use.
        prompt (Prompt, optional): How a label becomes a sentence. Defaults to the paper's.
        keep_padding (bool): Whether to compute the positions behind EOT too, as the paper's
            memory of 77 tokens has them. Defaults to False.
        joint_space (bool): Whether to apply the text projection to the token features as well, so
            that they live in one space with the pooled feature and the image features of ORP. The
            paper does not. Defaults to False.
        compile (bool): Whether to compile the blocks of a causal tower by ``torch.compile``, for
            long corpora: it takes a minute and a C++ compiler, and encodes faster. Defaults to
            False.

    Raises:
        ValueError: The text tower or the tokenizer is not known here, or the prompt leaves no room
            for a label.
    """

    def __init__(
        self,
        clip: LoadedCLIP,
        prompt: Prompt | None = None,
        keep_padding: bool = False,
        joint_space: bool = False,
        compile: bool = False,
    ) -> None:
        self.clip = clip
        self.prompt = prompt or Prompt()
        self.keep_padding = keep_padding
        self.joint_space = joint_space
        self.sentences = sentences_of(clip.tokenizer, clip.identity.model)
        self.prefix_ids = self.sentences.encode_prefix(self.prompt.prefix)
        self.context_length: int = clip.tokenizer.context_length
        if fault := self.fault(self.sentences.encode(self.prompt.prefix)):
            raise ValueError(
                f"The prompt {self.prompt.template!r} has {len(self.prefix_ids)} tokens before the "
                f"label, CLIP's context has {self.context_length}: it {fault}. Use a shorter "
                "prompt, or one that the weights were trained on."
            )
        self.tower = build_text_tower(clip, self.prefix_ids, self.sentences.pad_id, compile)

    @property
    def token_width(self) -> int:
        """int: Width of the token features."""
        return self.pooled_width if self.joint_space else self.tower.width

    @property
    def pooled_width(self) -> int:
        """int: Width of the pooled feature, that of CLIP's joint space."""
        return self.tower.pooled_width

    def tokenize(self, label: str) -> list[int]:
        """Return the token ids of a label's sentence, from start of text to EOT, never cut."""
        return self.sentences.encode(self.prompt(label))

    def fault(self, ids: Sequence[int]) -> str | None:
        """Return why a tokenized label cannot be encoded, None if it can."""
        if len(ids) > self.context_length:
            return EXCEEDS_CONTEXT
        known = self.clip.known_tokens
        return None if known is None or known.issuperset(ids) else UNKNOWN_TOKENS

    @torch.inference_mode()
    def prefix_features(self) -> Tensor:
        """Return the features of the common prefix, of shape (P, D) or (P, J).

        Towers whose tokens see all others have none in common: P is 0.
        """
        with self.clip.autocast():
            return self._project_tokens(self.tower.prefix()).to(self.clip.dtype)

    @torch.inference_mode()
    def encode(self, labels: Sequence[str]) -> TextFeatures:
        """Compute the features of ``labels``.

        Args:
            labels (Sequence[str]): N labels, none with a :meth:`fault`.

        Returns:
            TextFeatures: In the order of ``labels``, in CLIP's data type, on its device.

        Raises:
            ValueError: A label does not fit into CLIP's context, or the weights do not know it.
        """
        return self.encode_ids([self.tokenize(label) for label in labels])

    @torch.inference_mode()
    def encode_ids(self, sentences: Sequence[Sequence[int]]) -> TextFeatures:
        """Same as :meth:`encode`, for sentences that are tokenized already."""
        for ids in sentences:
            if fault := self.fault(ids):
                sentence = self.sentences.decode(ids)
                if fault == EXCEEDS_CONTEXT:
                    fix = (
                        f"it takes {len(ids)} tokens, more than the {self.context_length}. Drop "
                        "it, or use a shorter prompt or spelling='word'; it is never cut silently."
                    )
                else:
                    fix = (
                        f"{self.clip.identity.model} was trained on few tokens, those of single "
                        "characters. Use spelling='characters', and drop labels with others."
                    )
                raise ValueError(f"{sentence!r} {fault}: {fix}")
        starts = [shared_beginning(ids, self.prefix_ids) for ids in sentences]
        if self.keep_padding and not self.tower.shares_prefix:
            starts = [0] * len(sentences)  # all of the context belongs to the label
        ends = [self.context_length if self.keep_padding else len(ids) for ids in sentences]
        lengths = torch.tensor([e - s for s, e in zip(starts, ends, strict=True)], dtype=torch.long)
        offsets = lengths.cumsum(0) - lengths
        device, dtype = self.clip.device, self.clip.dtype
        tokens = torch.empty(int(lengths.sum()), self.token_width, device=device, dtype=dtype)
        pooled = torch.empty(len(sentences), self.pooled_width, device=device, dtype=dtype)
        token_ids = torch.empty(len(tokens), dtype=torch.long)
        for start, length, rows in self._batches(starts, lengths.tolist()):
            batch = torch.full((len(rows), start + length), self.sentences.pad_id)
            for i, row in enumerate(rows):
                batch[i, : len(sentences[row])] = torch.tensor(sentences[row])
            with self.clip.autocast():
                states, ends_of_text = self.tower(self._to_device(batch), start)
                states = self._project_tokens(states)
            pooled[self._to_device(torch.tensor(rows))] = ends_of_text.to(dtype)
            places = (offsets[rows, None] + torch.arange(length)).flatten()
            tokens[self._to_device(places)] = states.flatten(0, 1).to(dtype)
            token_ids[places] = batch[:, start:].flatten()
        prefix_lengths = torch.tensor(starts, dtype=torch.long)
        if not self.tower.shares_prefix:
            prefix_lengths.zero_()
        return TextFeatures(pooled, tokens, lengths, prefix_lengths, token_ids)

    def _batches(
        self, starts: list[int], lengths: list[int]
    ) -> Iterator[tuple[int, int, list[int]]]:
        """Group rows of one shape into batches of at most ``MAX_TOKENS`` computed tokens."""
        most = MAX_TOKENS.get(self.clip.device.type, MAX_TOKENS["cpu"])
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, shape in enumerate(zip(starts, lengths, strict=True)):
            groups[shape].append(row)
        for (start, length), rows in sorted(groups.items()):
            computed = length if self.tower.shares_prefix else start + length
            if self.tower.sees_padding:
                computed = self.context_length
            size = max(1, most // computed)
            for i in range(0, len(rows), size):
                yield start, length, rows[i : i + size]

    def _to_device(self, x: Tensor) -> Tensor:
        """Copy to CLIP's device; to a GPU from pinned memory, so that nothing waits for it."""
        if self.clip.device.type == "cuda":
            x = x.pin_memory()
        return x.to(self.clip.device, non_blocking=True)

    def _project_tokens(self, x: Tensor) -> Tensor:
        return self.tower.project(x) if self.joint_space else x


def shared_beginning(ids: Sequence[int], prefix: Sequence[int]) -> int:
    """Return the length of the beginning that two sequences share."""
    for i, (a, b) in enumerate(zip(ids, prefix, strict=False)):
        if a != b:
            return i
    return min(len(ids), len(prefix))
