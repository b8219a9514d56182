# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Where ``make_demo_data.py`` takes its words from."""

import codecs
import gzip
import re
import string

from demo_rendering import package_file
from numpy.random import Generator

ALPHABET = string.digits + string.ascii_lowercase
CODE_SHARE = 0.15  # share of numbers and letter-digit codes in words.txt
COMMON_WORDS = 16000  # images show words from the most frequent ones only
COMMON_SHORT_WORDS = 2000  # many rarer ones of 3 letters are abbreviations
# Words nobody wants to see in a demo, in ROT13.
BLOCKED = re.compile(
    codecs.decode(
        "shpx|fuvg|cvff|ovgpu|phag|avtt|cbea|chffl|juber|fyhg|zvys|kkk|oernfg|enpvfg|ahqr|anxrq"
        "|obbo|ubeal|cravf|intvan|frk|encvfg|^(qvpx|pbpx|encr|gvg|nff|nefr|nany|snt)(f|q|rf)?$",
        "rot13",
    )
)


def load_words() -> list[str]:
    """Read English words from the vocabulary of CLIP's tokenizer.

    A vocabulary made by byte pair encoding also holds word endings (``ation``). A piece counts as
    an ending if a longer word ends in it and what stands before is no word itself.

    Returns:
        list[str]: Words of 3 to 12 letters, most frequent first.
    """
    path = package_file("open_clip", "bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        # The tokenizer itself uses these lines only: 49152 less 256 bytes and 2 special tokens.
        merges = file.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    pieces = ["".join(merge.split()) for merge in merges]
    matches = (re.fullmatch(r"([a-z]{3,12})</w>", piece) for piece in pieces)
    words = [match[1] for match in matches if match]
    known = set(words)
    endings = {
        word[cut:] for word in words for cut in range(1, len(word) - 2) if word[:cut] not in known
    }
    return [word for word in words if word not in endings and not BLOCKED.search(word)]


def related_words(words: list[str]) -> list[str]:
    """Keep the words that have an inflected form: ``pledge`` has ``pledged``, ``smtown`` nothing.

    What is left of names, abbreviations and rare word endings is small.

    Args:
        words (list[str]): Words to choose from.

    Returns:
        list[str]: The chosen words, in the same order.
    """
    known, related = set(words), set()
    for word in words:
        for suffix in ("s", "es", "d", "ed", "ing", "ly", "er", "ies", "ied"):
            if word.endswith(suffix):
                stem = word.removesuffix(suffix)
                relatives = {stem + "y"} if suffix in ("ies", "ied") else {stem, stem + "e"}
                if found := (relatives & known) - {word}:
                    related |= {word, *found}
    return [word for word in words if word in related]


def make_codes(rng: Generator, count: int) -> list[str]:
    """Make up numbers (``2047``) and codes of letters and digits (``ab123``).

    Args:
        rng (Generator): Source of randomness.
        count (int): How many to make.

    Returns:
        list[str]: Different strings of 2 to 7 characters.
    """
    codes: dict[str, None] = {}  # a dict, unlike a set, keeps the order
    while len(codes) < count:
        letters = "".join(rng.choice(list(string.ascii_lowercase), rng.choice([0, 0, 1, 2, 3])))
        digits = "".join(rng.choice(list(string.digits), rng.integers(2, 5)))
        codes[letters + digits if rng.random() < 0.7 else digits + letters] = None
    return list(codes)


def split_words(
    rng: Generator, train: int, test: int, corpus: int
) -> tuple[list[str], list[str], list[str]]:
    """Choose the words of the training images, the test images and the corpus.

    Test words are in neither of the other two, so that the test measures reading.

    Args:
        rng (Generator): Source of randomness.
        train (int): Number of training images; words repeat if there are not enough.
        test (int): Number of test images.
        corpus (int): Number of words in the corpus.

    Returns:
        tuple[list[str], list[str], list[str]]: Words of training, test and corpus.

    Raises:
        ValueError: If there are too few words, or the corpus misses a character.
    """
    words = load_words()
    short = set(words[:COMMON_SHORT_WORDS])
    common = [
        word
        for word in related_words(words[:COMMON_WORDS])
        if 3 < len(word) <= 10 or (len(word) == 3 and word in short)
    ]
    if test > len(common) // 2:
        raise ValueError(f"expected --test of at most {len(common) // 2}, found {test}")
    order = [common[index] for index in rng.permutation(len(common))]
    tested, rest = order[:test], order[test:]
    trained = [rest[index % len(rest)] for index in range(train)]

    codes = round(corpus * CODE_SHARE)
    hidden = set(tested)
    letters = [word for word in words if word not in hidden]
    if corpus - codes > len(letters):
        most = int(len(letters) / (1 - CODE_SHARE))
        raise ValueError(f"expected --words of at most {most}, found {corpus}")
    listed = letters[: corpus - codes] + make_codes(rng, codes)
    if missing := set(ALPHABET).difference(*listed):
        raise ValueError(
            f"{corpus} words miss the characters {''.join(sorted(missing))!r}; raise --words"
        )
    return trained, tested, [listed[index] for index in rng.permutation(len(listed))]
