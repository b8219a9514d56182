# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Clean the labels of a corpus, and say what was dropped and why."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, get_args

import regex

from mmdptr.writing import LETTER_CASES, Alphabet, change_case

from .filter_report import (
    DUPLICATE,
    EMPTY,
    NOT_IN_DICTIONARY,
    NOT_TEXT,
    TOO_LONG,
    TOO_SHORT,
    FilterReport,
)
from .seen_labels import SeenLabels

# Control characters, lone surrogates, unassigned code points.
_NOT_TEXT_CATEGORIES = {"Cc", "Cs", "Cn"}
# Soft hyphens, byte order marks and the like show nothing; joiners change how letters are written.
_INVISIBLE = regex.compile(r"[^\P{Cf}\u200c\u200d]")
# Anything to see: no white space, joiners, variation selectors, fillers, nor Braille's blank.
_MARK = regex.compile(r"[^\s\p{Default_Ignorable_Code_Point}\u2800]")
UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


class LabelFilter:
    """Bring labels into one form, and drop what a decoder cannot learn from.

    A label is normalised (Unicode form, letter case, no invisible characters, no white space around
    it), then dropped when it shows nothing, is not valid text, has the wrong length, leaves the
    dictionary, or came before.

    Labels are lower-cased by default because CLIP's tokenizer does the same: 'Hello' and 'HELLO'
    have one and the same text embedding, so no decoder can learn the case from it, and keeping
    both would only teach it to guess.

    Characters that Unicode does not know count as invalid text. How much it knows depends on the
    version of Python (``unicodedata.unidata_version``).

    Args:
        characters (Collection[str], optional): The characters, or grapheme clusters, that labels
            may be made of, often from :func:`mmdptr.writing.read_alphabet`. The space needs to be
            among them like any other character. None allows all. Defaults to None.
        min_length (int): Fewest characters of a label; a cluster of the alphabet is one.
            Defaults to 1.
        max_length (int, optional): Most characters of a label; None sets no limit. Defaults to 25.
        letter_case (str): 'unchanged', 'lower' or 'upper'. Defaults to 'lower'.
        unicode_form (str, optional): 'NFC', 'NFD', 'NFKC', 'NFKD', or None to leave the labels as
            they are, which a dictionary with characters that NFC takes apart needs (some of
            Devanagari, for one). Defaults to 'NFC'.
        language (str, optional): Language whose rules the letter case follows, see
            :func:`mmdptr.writing.change_case`. Defaults to None.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        characters: Collection[str] | None = None,
        min_length: int = 1,
        max_length: int | None = 25,
        letter_case: str = "lower",
        unicode_form: UnicodeForm | None = "NFC",
        language: str | None = None,
    ) -> None:
        if min_length < 1:
            raise ValueError(f"min_length is {min_length}, expected 1 or more")
        if max_length is not None and max_length < min_length:
            raise ValueError(
                f"max_length is {max_length}, expected min_length={min_length} or more, or None"
            )
        if letter_case not in LETTER_CASES:
            raise ValueError(f"letter_case is {letter_case!r}, expected one of {[*LETTER_CASES]}")
        if unicode_form not in (None, *get_args(UnicodeForm)):
            raise ValueError(
                f"unicode_form is {unicode_form!r}, expected None or one of "
                f"{[*get_args(UnicodeForm)]}"
            )
        self.alphabet = None if characters is None else Alphabet(characters)
        self.min_length = min_length
        self.max_length = max_length
        self.letter_case = letter_case
        self.unicode_form = unicode_form
        self.language = language
        self.report = FilterReport()

    def __call__(self, labels: Iterable[str]) -> Iterator[str]:
        """Filter a stream of labels.

        Each call starts with nothing seen and a new ``report``, which grows while the stream is
        read. Chain several corpora with :func:`iter_corpora` to de-duplicate across them.

        Args:
            labels (Iterable[str]): The labels as they were read.

        Returns:
            Iterator[str]: The labels that remain, normalised, in the order of first occurrence.
        """
        self.report = FilterReport()
        return self._filter(labels, self.report)

    def normalise(self, label: str) -> str:
        """Return the one form that all spellings of a label share."""
        if not label.isprintable():
            label = _INVISIBLE.sub("", label)
        if self.unicode_form is None or label.isascii():
            return change_case(label, self.letter_case, self.language).strip()
        # Twice: changing the case can leave the form, and taking compatibility characters apart
        # can bring letters of the other case.
        label = unicodedata.normalize(self.unicode_form, label)
        label = change_case(label, self.letter_case, self.language)
        return unicodedata.normalize(self.unicode_form, label).strip()

    def units(self, label: str) -> list[str]:
        """Return the characters, or clusters, that a label is made of."""
        return list(label) if self.alphabet is None else self.alphabet.split(label)

    def _filter(self, labels: Iterable[str], report: FilterReport) -> Iterator[str]:
        seen = SeenLabels()
        for raw in labels:
            report.read += 1
            label = self.normalise(raw)
            reason = self._fault(label)
            if reason is None and seen.add(label):
                yield label
                continue
            if reason == NOT_IN_DICTIONARY and self.alphabet is not None:
                for character in set(self.units(label)) - self.alphabet.units:
                    report.unknown_characters[character] += 1
            report.drop(reason or DUPLICATE, raw)

    def _fault(self, label: str) -> str | None:
        """Return what is wrong with a normalised label on its own."""
        # isprintable() is a fast way to pass nearly all labels, but it refuses some valid ones,
        # such as those with the joiners that Persian and Hindi are written with.
        if not label.isprintable() and any(
            unicodedata.category(character) in _NOT_TEXT_CATEGORIES for character in label
        ):
            return NOT_TEXT
        if not _MARK.search(label):
            return EMPTY
        units = self.units(label)
        if len(units) < self.min_length:
            return TOO_SHORT
        if self.max_length is not None and len(units) > self.max_length:
            return TOO_LONG
        if self.alphabet is not None and not self.alphabet.units.issuperset(units):
            return NOT_IN_DICTIONARY
        return None
