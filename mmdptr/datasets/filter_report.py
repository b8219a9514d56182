# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a filter read, kept and dropped, and why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

EMPTY = "empty"
NOT_TEXT = "not valid text"
TOO_SHORT = "too short"
TOO_LONG = "too long"
NOT_IN_DICTIONARY = "not in dictionary"
DUPLICATE = "duplicate"
REASONS = (EMPTY, NOT_TEXT, TOO_SHORT, TOO_LONG, NOT_IN_DICTIONARY, DUPLICATE)


@dataclass
class FilterReport:
    """What happened to the labels of a corpus.

    Reasons are open: whoever drops a label further down the line calls :meth:`drop` with a reason
    of its own. ``kept`` is what remains, so the counts always add up.

    Attributes:
        read (int): Labels that came in. Defaults to 0.
        dropped (dict[str, int]): Dropped labels for each reason, zeros included.
        examples (dict[str, list[str]]): The first labels that each reason met, as they were given,
            long ones cut.
        unknown_characters (Counter[str]): For each character outside the dictionary, the number
            of labels that hold it.
    """

    MAX_EXAMPLES = 10
    MAX_EXAMPLE_LENGTH = 200
    MAX_CHARACTERS = 20

    read: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    examples: dict[str, list[str]] = field(default_factory=dict)
    unknown_characters: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """int: Labels that came in and were not dropped."""
        return self.read - sum(self.dropped.values())

    def drop(self, reason: str, label: str) -> None:
        """Count a label as dropped; it has been counted as read before.

        Args:
            reason (str): Why, in a few words. Any string may be used.
            label (str): The label, kept as an example when it is among the first of its reason.
        """
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < self.MAX_EXAMPLES:
            examples.append(shortened(label, self.MAX_EXAMPLE_LENGTH))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy, whose keys keep their order from run to run."""
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "examples": {
                reason: [_writable(label) for label in self.examples[reason]]
                for reason in filter(self.examples.get, self.dropped)
            },
            "unknown_characters": dict(self._frequent_characters()),
        }

    def __str__(self) -> str:
        rows = [("labels read", self.read), ("kept", self.kept), ("dropped", self.read - self.kept)]
        rows += [(f"  {reason}", count) for reason, count in self.dropped.items() if count]
        name_width = max(len(name) for name, _ in rows)
        count_width = len(f"{self.read:,}")
        lines = []
        for name, count in rows:
            share = 100 * count / max(self.read, 1)
            lines.append(f"{name:<{name_width}}  {count:>{count_width},}  {share:6.2f} %")
        for reason in filter(self.examples.get, self.dropped):
            lines.append(f"first labels dropped as {reason!r}")
            lines += _wrapped(map(quoted, self.examples[reason]))
        if self.unknown_characters:
            lines.append("characters outside the dictionary: labels that hold them")
            lines += _wrapped(
                f"{character!r} U+{ord(character):04X}: {count:,}"
                for character, count in self._frequent_characters()
            )
        return "\n".join(lines)

    def _frequent_characters(self) -> list[tuple[str, int]]:
        """The most common unknown characters; ties by code point, so that runs agree."""
        ranked = sorted(self.unknown_characters.items(), key=lambda item: (-item[1], item[0]))
        return ranked[: self.MAX_CHARACTERS]


def _writable(label: str) -> str:
    """Escape lone surrogates, which no file in UTF-8 can hold."""
    return label.encode("utf-8", "backslashreplace").decode("utf-8")


def quoted(label: str) -> str:
    """Show a label on a terminal: quoted, escaped, and cut when it is a whole paragraph."""
    return repr(shortened(label, 40))


def shortened(label: str, length: int) -> str:
    """Cut a label that is longer, and show that by an ellipsis."""
    return label if len(label) <= length else label[: length - 3] + "..."


def _wrapped(items: Iterable[str]) -> list[str]:
    """Lay items out in indented lines of at most 100 columns, none cut in two."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= 100:
            lines[-1] += f"  {item}"
        else:
            lines.append(f"    {item}")
    return lines
