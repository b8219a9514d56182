# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Sentences as the tokenizers of CLIPs see them: never cut, never padded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

CACHE = 100_000
"""int: Words, of about 200 bytes each, that open_clip's tokenizer may remember; it forgets none."""


class Sentences(ABC):
    """A tokenizer of open_clip, from start to end of text."""

    pad_id = 0  # what stands behind the end

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @abstractmethod
    def encode(self, sentence: str) -> list[int]:
        """Return the token ids of a sentence, start and end of text among them."""

    @abstractmethod
    def encode_prefix(self, prefix: str) -> list[int]:
        """Return the token ids of the beginning of a sentence, without an end of text."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""

    def separates(self, prefix: str, characters: str) -> bool:
        """Return whether each character of a spelled label is sure to be one token.

        Defaults to False: nothing is known without a look at the tokens.
        """
        return False

    def bound_memory(self) -> None:  # noqa: B027  most remember nothing
        """Forget words, if there are many."""


class BytePairSentences(Sentences):
    """CLIP's own byte-pair tokenizer."""

    def encode(self, sentence: str) -> list[int]:
        """Return the token ids of a sentence."""
        return [*self.encode_prefix(sentence), self.tokenizer.eot_token_id]

    def encode_prefix(self, prefix: str) -> list[int]:
        """Return the token ids of the beginning of a sentence."""
        return [self.tokenizer.sot_token_id, *self.tokenizer.encode(prefix)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return self.tokenizer.decode(list(ids[1:-1]))

    def separates(self, prefix: str, characters: str) -> bool:
        """Return whether each character of a spelled label is sure to be one token.

        ASCII characters between spaces are. The first may follow a quote, with which a symbol would
        make one piece; behind a letter, a letter would.
        """
        return characters.isascii() and characters[:1].isalnum() and not prefix[-1:].isalnum()

    def bound_memory(self) -> None:
        """Forget the words of a full cache, but not the special tokens, which are always there."""
        if len(self.tokenizer.cache) > CACHE:
            specials = [self.tokenizer.decoder[i] for i in self.tokenizer.all_special_ids]
            self.tokenizer.cache = {token: token for token in specials}


class HFSentences(Sentences):
    """A tokenizer of Hugging Face's, with the cleaning that open_clip does before it."""

    def __init__(self, tokenizer: HFTokenizer) -> None:
        super().__init__(tokenizer)
        self.pad_id = tokenizer.tokenizer.pad_token_id or 0

    def encode(self, sentence: str) -> list[int]:
        """Return the token ids of a sentence."""
        return self._encode(sentence)[0]

    def encode_prefix(self, prefix: str) -> list[int]:
        """Return the token ids of the beginning of a sentence."""
        ids, special = self._encode(prefix)
        while special and special[-1]:
            special.pop()
        return ids[: len(special)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return self.tokenizer.tokenizer.decode(list(ids), skip_special_tokens=True)

    def _encode(self, text: str) -> tuple[list[int], list[int]]:
        """Return token ids, and 1 for each that is no text."""
        inner = self.tokenizer.tokenizer
        found = inner(self.tokenizer.clean_fn(text), return_special_tokens_mask=True, verbose=False)
        ids = list(found["input_ids"])
        if self.tokenizer.strip_sep_token:
            ids = [0 if i == inner.sep_token_id else i for i in ids]
        return ids, list(found["special_tokens_mask"])


def sentences_of(tokenizer: Any, model: str) -> Sentences:
    """Return the sentences of a CLIP's tokenizer.

    Raises:
        ValueError: The tokenizer is not known here.
    """
    if isinstance(tokenizer, SimpleTokenizer):
        return BytePairSentences(tokenizer)
    if isinstance(tokenizer, HFTokenizer) and not tokenizer.tokenizer_mode:
        return HFSentences(tokenizer)
    raise ValueError(
        f"The tokenizer of {model!r} is a {type(tokenizer).__name__}; expected CLIP's byte-pair "
        "tokenizer or one of Hugging Face's transformers. Use another CLIP."
    )
