# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A dictionary made from labels, with what speaks for and against it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .alphabet import Alphabet, graphemes
from .scripts import count_scripts, script_code, script_name, scripts_of

EXAMPLES = 10


@dataclass(frozen=True)
class DictionaryDraft:
    """The classes that labels ask for.

    Args:
        kept (Mapping[str, int]): Units of the dictionary, by code points, and the number of times
            that each occurs.
        dropped (Mapping[str, int]): Units that are too rare or of another script, the most frequent
            first.
        labels (int): Labels that were read.
        lost (int): Labels that hold a unit that was dropped.
        longest (int): Units of the longest label that is not lost.
        examples (tuple[str, ...]): The first labels that are lost.
    """

    kept: Mapping[str, int]
    dropped: Mapping[str, int]
    labels: int
    lost: int
    longest: int
    examples: tuple[str, ...]

    def scripts(self) -> Counter[str]:
        """Count the units of each script."""
        return count_scripts(self.kept)

    def confusables(self) -> list[tuple[str, str]]:
        """Return pairs of units that look alike, such as the Latin and the Cyrillic a.

        Raises:
            ValueError: ``confusable_homoglyphs`` is not installed.
        """
        try:
            from confusable_homoglyphs import confusables  # Unicode's list of them (UTS 39)
        except ModuleNotFoundError as error:
            raise ValueError(
                "Looking for characters that look alike needs the package confusable_homoglyphs: "
                "pip install 'mmdptr[languages]'."
            ) from error
        pairs = set()
        for unit in self.kept:
            for found in confusables.is_confusable(unit, greedy=True) or []:
                for other in (x["c"] for x in found["homoglyphs"]):
                    if len(unit) == 1 and other in self.kept:
                        pairs.add((min(unit, other), max(unit, other)))
        return sorted(pairs)


def draft_dictionary(
    labels: Iterable[str],
    min_count: int = 1,
    clusters: bool = False,
    always: Iterable[str] = (),
    scripts: Iterable[str] = (),
) -> DictionaryDraft:
    """Collect the classes of labels.

    A grapheme cluster that is too rare is spelled by its characters, which count for themselves; a
    character that is too rare is dropped, and the labels that hold it are lost.

    Args:
        labels (Iterable[str]): Different labels, normalised.
        min_count (int): Fewest occurrences of a unit. Defaults to 1.
        clusters (bool): Whether grapheme clusters may be units. Defaults to False: only characters.
        always (Iterable[str]): Characters that are units, whether they occur or not.
            Defaults to ().
        scripts (Iterable[str]): English names of the scripts whose characters may be units,
            ``'Common'`` for those of all. Defaults to (): any.

    Returns:
        DictionaryDraft: What was found.

    Raises:
        ValueError: There are no labels, ``min_count`` is not positive, or Unicode has no such
            script.
    """
    if min_count < 1:
        raise ValueError(f"min_count is {min_count}, expected 1 or more.")
    always, scripts = set(always), {script_name(script_code(name)) for name in scripts}
    texts = list(labels)
    if not texts:
        raise ValueError("There are no labels to make a dictionary of.")
    frequent = set[str]()
    if clusters:
        found = Counter(cluster for text in texts for cluster in graphemes(text))
        frequent = {x for x, count in found.items() if len(x) > 1 and count >= min_count}
    alphabet = Alphabet(frequent | {" "})
    counts = Counter(dict.fromkeys(always, 0))
    counts.update(unit for text in texts for unit in alphabet.split(text))
    kept = {
        unit: count
        for unit, count in sorted(counts.items())
        if unit in always or (count >= min_count and (not scripts or scripts & scripts_of(unit)))
    }
    lost = [text for text in texts if not kept.keys() >= set(alphabet.split(text))]
    out = set(lost)
    return DictionaryDraft(
        kept=kept,
        dropped={x: n for x, n in counts.most_common() if x not in kept},
        labels=len(texts),
        lost=len(lost),
        longest=max((len(alphabet.split(x)) for x in texts if x not in out), default=0),
        examples=tuple(lost[:EXAMPLES]),
    )
