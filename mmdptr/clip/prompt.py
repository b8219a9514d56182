# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The sentence that stands between a label and CLIP's text encoder."""

from dataclasses import asdict, dataclass

from mmdptr.writing import graphemes

SPELLINGS = ("word", "characters")
SPACE = "\u2423"
"""str: What stands for a label's own white space where spaces separate its characters."""


@dataclass(frozen=True)
class Prompt:
    """Turns a label into the sentence that CLIP reads.

    Args:
        template (str): Sentence with one ``{}`` where the label goes. Defaults to
            ``"a photo of a '{}'"``, the prompt of the DPTR paper (arXiv 2408.05706, section 3).
        spelling (str): ``'word'`` puts the label in as it is, as the paper does; CLIP's tokenizer
            then cuts it into byte-pair pieces. ``'characters'`` separates its characters (grapheme
            clusters) by spaces, which gives CLIP one token a character, in order, as visual
            features have it; of those that its tokenizer knows as bytes only,
            :func:`merge_characters` makes one. White space of the label is written as an open box.
            Defaults to ``'word'``.

    Raises:
        ValueError: The template does not hold exactly one ``{}``, or the spelling is unknown.
    """

    template: str = "a photo of a '{}'"
    spelling: str = "word"

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise ValueError(
                f"A prompt template holds the label's place '{{}}' exactly once, found "
                f"{self.template.count('{}')} times in {self.template!r}. Write it like "
                "\"a photo of a '{}'\"."
            )
        if self.spelling not in SPELLINGS:
            raise ValueError(
                f"Unknown spelling {self.spelling!r}. Expected one of {', '.join(SPELLINGS)}."
            )

    def __call__(self, label: str) -> str:
        """Return the sentence for ``label``."""
        characters = self.characters(label)
        text = label if characters is None else " ".join(characters)
        return self.template.replace("{}", text, 1)

    def characters(self, label: str) -> list[str] | None:
        """Return what the sentence separates of ``label``, None if it holds it as it is."""
        if self.spelling != "characters":
            return None
        return [SPACE if character.isspace() else character for character in graphemes(label)]

    @property
    def prefix(self) -> str:
        """str: What every sentence begins with, whatever the label."""
        return self.template.partition("{}")[0]

    @property
    def suffix(self) -> str:
        """str: What every sentence ends with, whatever the label."""
        return self.template.partition("{}")[2]

    def to_dict(self) -> dict[str, str]:
        """Return what a manifest records of the prompt."""
        return asdict(self)
