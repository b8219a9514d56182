# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Letter case by the rules of a language."""

LETTER_CASES = ("unchanged", "lower", "upper")
# In Turkish and Azerbaijani the dotless and the dotted i are two letters, each in two cases.
_DOTTED_I = {"lower": str.maketrans("Iİ", "ıi"), "upper": str.maketrans("iı", "İI")}
_RULES = {"tr": _DOTTED_I, "az": _DOTTED_I}


def change_case(text: str, letter_case: str, language: str | None = None) -> str:
    """Change the case of a text.

    Args:
        text (str): The text.
        letter_case (str): ``'unchanged'``, ``'lower'`` or ``'upper'``.
        language (str, optional): Code of a language (ISO 639-1) that has rules of its own:
            Turkish, ``'tr'``, and Azerbaijani, ``'az'``. All others follow Unicode's rules.
            Defaults to None.

    Returns:
        str: The text, which may have another length (``'ß'`` in upper case is ``'SS'``).

    Raises:
        ValueError: The case is unknown.
    """
    if letter_case not in LETTER_CASES:
        raise ValueError(f"letter_case is {letter_case!r}, expected one of {[*LETTER_CASES]}.")
    if letter_case == "unchanged":
        return text
    if language in _RULES:
        text = text.translate(_RULES[language][letter_case])
    return text.lower() if letter_case == "lower" else text.upper()
