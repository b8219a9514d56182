# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Readers of word corpora: every format gives a stream of labels.

============================  =====================================================
path                          what it holds
============================  =====================================================
``*.txt``                     one label a line
``*.jsonl``                   one ``{"text": label}``, or one plain JSON string, a line
``*.json``                    an MMOCR 1.x annotation file
folder with ``data.mdb``      an MMOCR recognition LMDB
``wordfreq:bn``               the words of a language by the package wordfreq, the most
                              frequent first; ``wordfreq:bn:50000`` the first 50,000
============================  =====================================================

Labels leave as they were written: cleaning them is the work of :class:`LabelFilter`, which also
counts what it drops. A format joins by adding its reader to ``READERS``.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from reprlib import repr as shortened

import lmdb

WORDFREQ = "wordfreq:"
FOLDED_SIGMA = re.compile(r"(?<=\w)σ\b")


def iter_corpora(paths: Iterable[str | Path]) -> Iterator[str]:
    """Read several corpora, one after the other.

    Every path is checked at once, so that a misspelt last one does not end hours of work.

    Args:
        paths (Iterable[str | Path]): Files and LMDB folders, as in :func:`iter_corpus`.

    Returns:
        Iterator[str]: The labels of all corpora, in the order of ``paths``.

    Raises:
        TypeError: If ``paths`` is a single string.
    """
    if isinstance(paths, str):
        raise TypeError(f"paths is the string {paths!r}, expected a list: write [{paths!r}]")
    return chain.from_iterable([iter_corpus(path) for path in paths])


def iter_corpus(path: str | Path) -> Iterator[str]:
    """Read one corpus with the reader that its path asks for.

    The path is checked at once; the corpus is opened when the first label is asked for.

    Args:
        path (str | Path): A file with one of the suffixes in ``READERS``, an LMDB folder, or
            ``'wordfreq:'`` and a language.

    Returns:
        Iterator[str]: The labels in the order of the corpus, empty and repeated ones included.

    Raises:
        FileNotFoundError: If there is nothing at ``path``.
        ValueError: If the format or language is unknown or, while reading, if the content is
            damaged.
    """
    if str(path).startswith(WORDFREQ):
        return read_wordfreq(str(path))
    path = Path(path)
    if path.is_dir():
        if not (path / "data.mdb").is_file():
            raise ValueError(
                f"{path} is a folder without a data.mdb, expected an LMDB folder or a file: "
                "give the folder that holds data.mdb itself, or list the files one by one"
            )
        return read_lmdb(path)
    if not path.exists():
        raise FileNotFoundError(f"no corpus at {path}, expected a file or an LMDB folder: check it")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}, expected one of {', '.join(READERS)} or an "
            "LMDB folder: rename or convert it; .txt with one label a line is the simplest"
        )
    return reader(path)


def read_wordfreq(name: str) -> Iterator[str]:
    """Yield the words of a language, the most frequent first.

    Args:
        name (str): ``'wordfreq:'``, a language code, and perhaps a colon and a number of words.

    Raises:
        ValueError: The language is not among wordfreq's, the number is none, or the package is not
            installed.
    """
    try:
        import wordfreq
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{name} needs the package wordfreq: pip install 'mmdptr[languages]'"
        ) from error
    _, language, number, *_ = f"{name}::".split(":")
    known = sorted(wordfreq.available_languages())
    if language not in known or not (number.isdecimal() or not number):
        raise ValueError(
            f"found {name!r}, expected 'wordfreq:<language>' or 'wordfreq:<language>:<number>', "
            f"with one of the languages {', '.join(known)}"
        )
    words = islice(wordfreq.iter_wordlist(language), int(number) if number else None)
    # wordfreq folds cases, and with them the two small letters sigma.
    return (FOLDED_SIGMA.sub("ς", word) for word in words) if language == "el" else words


def read_text(path: Path) -> Iterator[str]:
    """Yield the lines of a text file without their newlines; inner and outer spaces stay."""
    return (line for _, line in _numbered_lines(path))


def read_json_lines(path: Path) -> Iterator[str]:
    """Yield the label of each line; a blank line is the empty label."""
    for number, line in _numbered_lines(path):
        where = f"{path}, line {number}"
        entry = _parse_json(line, where) if line.strip() else ""
        yield entry if isinstance(entry, str) else _text_of(entry, where)


def read_mmocr_json(path: Path) -> Iterator[str]:
    """Yield the text of every instance of an MMOCR 1.x annotation file.

    JSON can only be parsed whole: a file of many million labels is better kept as ``.jsonl``.
    """
    annotation = _parse_json(_decode(path.read_bytes(), str(path)), str(path))
    images = annotation.get("data_list") if isinstance(annotation, dict) else None
    if not isinstance(images, list):
        raise ValueError(
            f"{path}: found {shortened(annotation)}, expected an MMOCR 1.x annotation, "
            "{'data_list': [...]}: convert it, or use .jsonl with one {'text': label} a line"
        )
    for i, image in enumerate(images):
        instances = image.get("instances") if isinstance(image, dict) else None
        if not isinstance(instances, list):
            raise ValueError(
                f"{path}, data_list[{i}]: found {shortened(image)}, expected "
                "{'instances': [{'text': label}]}: correct or remove this item"
            )
        for j, instance in enumerate(instances):
            yield _text_of(instance, f"{path}, data_list[{i}].instances[{j}]")


def read_lmdb(path: Path) -> Iterator[str]:
    """Yield the labels of an LMDB written by any of MMOCR's converters.

    A label is stored as it is or, by ``lmdb_converter.py --label-only``, as
    ``{"filename": ..., "text": label}``. Images are never touched.
    """
    try:
        # Without a lock, so that read-only media and running trainings are no hindrance.
        with lmdb.open(str(path), readonly=True, lock=False, readahead=False) as env:
            _check_length(path, env)
            with env.begin() as transaction:
                size = _get(transaction, b"num-samples", path)
                if not size.isdecimal():
                    raise ValueError(
                        f"{path}, key 'num-samples': found {size!r}, expected a number: "
                        "write the LMDB again with MMOCR's converter"
                    )
                for index in range(1, int(size) + 1):
                    yield _label_of(_get(transaction, b"label-%09d" % index, path))
    except lmdb.Error as error:
        raise ValueError(
            f"{path} cannot be read: found '{error}', expected an intact LMDB that is open "
            "nowhere else in this process: close it there, or copy it again from its source"
        ) from error


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".json": read_mmocr_json,
}


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its newline) of a UTF-8 file."""
    # Read as bytes: a decoding error can then name its line, and only \n ends a line. Text mode
    # would also cut at a lone \r.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            yield number, _decode(line, f"{path}, line {number}")


def _decode(data: bytes, where: str) -> str:
    """Decode UTF-8, or name the byte that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: found byte 0x{data[error.start]:02x} at offset {error.start}, expected "
            "UTF-8: convert it, e.g. with `iconv -f <its encoding> -t UTF-8`"
        ) from error


def _parse_json(text: str, where: str) -> object:
    """Parse one JSON document."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except ValueError as error:
        raise ValueError(
            f"{where}: found broken JSON ({error}), expected one document in .json and one a "
            "line in .jsonl: correct it, or give the file the suffix that it needs"
        ) from error


def _text_of(entry: object, where: str) -> str:
    """Return ``entry['text']``."""
    text = entry.get("text") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            f"{where}: found {shortened(entry)}, expected an object whose 'text' is a string: "
            "add the key, or write the label in quotes"
        )
    return text


def _check_length(path: Path, env: lmdb.Environment) -> None:
    """Refuse a truncated file: LMDB maps it, and a page behind its end kills the process."""
    expected = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    found = (path / "data.mdb").stat().st_size
    if found < expected:
        raise ValueError(
            f"{path}/data.mdb is truncated: found {found} bytes, expected {expected}: "
            "copy it again from its source"
        )


def _get(transaction: lmdb.Transaction, key: bytes, path: Path) -> str:
    """Look up one key that has to be there."""
    where = f"{path}, key {key.decode()!r}"
    value = transaction.get(key)
    if value is None:
        raise ValueError(
            f"{where}: found nothing, expected the keys of MMOCR, 'num-samples' and "
            "'label-000000001' onwards: write the LMDB again with MMOCR's converter"
        )
    return _decode(bytes(value), where)


def _label_of(value: str) -> str:
    """Unpack an LMDB value; a label may itself begin with a brace."""
    if value.startswith("{"):
        try:
            entry = json.loads(value)
        except json.JSONDecodeError:
            return value
        if isinstance(entry.get("text"), str):
            return entry["text"]
    return value
