# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Clean the labels of a corpus, and say what was dropped and why."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

from .filter_report import (
    DUPLICATE,
    EMPTY,
    NOT_IN_DICTIONARY,
    NOT_TEXT,
    TOO_LONG,
    TOO_SHORT,
    FilterReport,
    quoted,
)
from .seen_labels import SeenLabels

# Control characters, lone surrogates, unassigned code points.
_NOT_TEXT_CATEGORIES = {"Cc", "Cs", "Cn"}
_LETTER_CASES: dict[str, Callable[[str], str]] = {
    "unchanged": str,
    "lower": str.lower,
    "upper": str.upper,
}
UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


class LabelFilter:
    """Bring labels into one form, and drop what a decoder cannot learn from.

    A label is normalised (Unicode form, letter case, no white space around it), then dropped when
    it is empty, is not valid text, has the wrong length, leaves the dictionary, or came before.

    Labels are lower-cased by default because CLIP's tokenizer does the same: 'Hello' and 'HELLO'
    have one and the same text embedding, so no decoder can learn the case from it, and keeping
    both would only teach it to guess.

    Characters that Unicode does not know count as invalid text. How much it knows depends on the
    version of Python (``unicodedata.unidata_version``).

    Args:
        characters (Collection[str], optional): The characters that labels may be made of, often
            from :func:`dictionary_characters`. The space needs to be among them like any other
            character. None allows all. Defaults to None.
        min_length (int): Fewest characters of a label. Defaults to 1.
        max_length (int, optional): Most characters of a label; None sets no limit. Defaults to 25.
        letter_case (str): 'unchanged', 'lower' or 'upper'. Defaults to 'lower'.
        unicode_form (str, optional): 'NFC', 'NFD', 'NFKC', 'NFKD', or None to leave the labels as
            they are, which a dictionary with characters that NFC takes apart needs (some of
            Devanagari, for one). Defaults to 'NFC'.

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
    ) -> None:
        if characters is not None:
            _check_characters(characters)
        if min_length < 1:
            raise ValueError(f"min_length is {min_length}, expected 1 or more")
        if max_length is not None and max_length < min_length:
            raise ValueError(
                f"max_length is {max_length}, expected min_length={min_length} or more, or None"
            )
        if letter_case not in _LETTER_CASES:
            raise ValueError(f"letter_case is {letter_case!r}, expected one of {[*_LETTER_CASES]}")
        if unicode_form not in (None, *get_args(UnicodeForm)):
            raise ValueError(
                f"unicode_form is {unicode_form!r}, expected None or one of "
                f"{[*get_args(UnicodeForm)]}"
            )
        self.characters = None if characters is None else frozenset(characters)
        self.min_length = min_length
        self.max_length = max_length
        self.letter_case = letter_case
        self.unicode_form = unicode_form
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
        change_case = _LETTER_CASES[self.letter_case]
        if self.unicode_form is None or label.isascii():
            return change_case(label).strip()
        # Twice: changing the case can leave the form, and taking compatibility characters apart
        # can bring letters of the other case.
        label = change_case(unicodedata.normalize(self.unicode_form, label))
        return unicodedata.normalize(self.unicode_form, label).strip()

    def _filter(self, labels: Iterable[str], report: FilterReport) -> Iterator[str]:
        seen = SeenLabels()
        for raw in labels:
            report.read += 1
            label = self.normalise(raw)
            reason = self._fault(label)
            if reason is None and seen.add(label):
                yield label
                continue
            if reason == NOT_IN_DICTIONARY and self.characters is not None:
                for character in set(label) - self.characters:
                    report.unknown_characters[character] += 1
            report.drop(reason or DUPLICATE, raw)

    def _fault(self, label: str) -> str | None:
        """Return what is wrong with a normalised label on its own."""
        if not label:
            return EMPTY
        # isprintable() is a fast way to pass nearly all labels, but it refuses some valid ones,
        # such as those with the joiners that Persian and Hindi are written with.
        if not label.isprintable() and any(
            unicodedata.category(character) in _NOT_TEXT_CATEGORIES for character in label
        ):
            return NOT_TEXT
        if len(label) < self.min_length:
            return TOO_SHORT
        if self.max_length is not None and len(label) > self.max_length:
            return TOO_LONG
        if self.characters is not None and not self.characters.issuperset(label):
            return NOT_IN_DICTIONARY
        return None


def dictionary_characters(dict_file: str | Path) -> set[str]:
    """Read the characters of an MMOCR dictionary file, by the rules of MMOCR's ``Dictionary``.

    Args:
        dict_file (str | Path): One character a line, in UTF-8 without a byte order mark; a line
            with a single space is the space, empty lines are skipped.

    Returns:
        set[str]: The characters, without the special tokens that MMOCR adds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no UTF-8, or a line has several characters or repeats an earlier one.
    """
    path = Path(dict_file)
    if not path.is_file():
        raise FileNotFoundError(f"no dictionary file at {path}, expected one character a line")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: found {error}, expected UTF-8: convert it, e.g. with "
            "`iconv -f <its encoding> -t UTF-8`"
        ) from error
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if len(line) > 1:
            raise ValueError(
                f"{path}, line {number}: found {len(line)} characters, {quoted(line)}, expected "
                "one: give each a line of its own, and save without a byte order mark"
            )
        if line in numbers:
            raise ValueError(
                f"{path}, line {number}: found {line!r}, which line {numbers[line]} has already, "
                "expected each character once: remove one of them"
            )
        if line:
            numbers[line] = number
    return set(numbers)


def _check_characters(characters: Collection[str]) -> None:
    if not characters:
        raise ValueError("characters is empty, expected some, or None to allow all")
    longer = [character for character in characters if len(character) != 1]
    if longer:
        raise ValueError(
            f"characters has the entries {longer[:5]}, expected single characters: give them one "
            "by one, without special tokens such as '<UKN>'"
        )
