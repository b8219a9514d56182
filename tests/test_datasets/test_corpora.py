# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import codecs
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdptr.datasets import corpora
from mmdptr.datasets.corpora import iter_corpora, iter_corpus

LABELS = ["Hello", "", " two words ", "naïve", "東京", "\u2028", "it's", '{"text": 1', "hello"]
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")


def write_text(path: Path, labels: list[str]) -> Path:
    path.write_bytes("".join(f"{label}\n" for label in labels).encode())
    return path


def write_json_lines(path: Path, labels: list[str]) -> Path:
    return write_text(path, [json.dumps({"filename": "1.jpg", "text": x}) for x in labels])


def write_json(path: Path, labels: list[str]) -> Path:
    images = [{"img_path": "1.jpg", "instances": [{"text": label}]} for label in labels]
    annotation = {"metainfo": {"task_name": "textrecog"}, "data_list": images}
    path.write_text(json.dumps(annotation, ensure_ascii=False), encoding="utf-8")
    return path


def write_items(path: Path, items: dict[bytes, bytes]) -> Path:
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        for key, value in items.items():
            transaction.put(key, value)
    return path


def write_lmdb(path: Path, labels: list[str]) -> Path:
    items = {b"num-samples": str(len(labels)).encode()}
    for index, label in enumerate(labels, start=1):
        items[b"image-%09d" % index] = b"\xff\xd8 no utf-8"
        items[b"label-%09d" % index] = label.encode()
    return write_items(path, items)


WRITERS = {
    "words.txt": write_text,
    "words.jsonl": write_json_lines,
    "words.json": write_json,
    "words.lmdb": write_lmdb,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_back_the_labels(name: str, tmp_path: Path):
    path = WRITERS[name](tmp_path / name, LABELS)
    assert list(iter_corpus(path)) == LABELS
    assert list(iter_corpus(str(path))) == LABELS
    assert list(iter_corpus(WRITERS[name](tmp_path / f"empty_{name}", []))) == []


@pytest.mark.parametrize("name", ["words.txt", "words.jsonl", "words.json"])
@settings(max_examples=50)
@given(labels=st.lists(st.text(characters)))
def test_any_text_survives_the_files(name: str, labels: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        # A byte order mark at the very start is no part of the first label.
        path = WRITERS[name](Path(folder) / name, ["first", *labels])
        assert list(iter_corpus(path)) == ["first", *labels]


def test_text_tolerates_bom_crlf_and_a_missing_last_newline(tmp_path: Path):
    path = tmp_path / "words.TXT"
    path.write_bytes(codecs.BOM_UTF8 + b"one\r\n two \r\n\r\nth\rree")
    assert list(iter_corpus(path)) == ["one", " two ", "", "th\rree"]


def test_json_lines_may_be_plain_strings_and_blank(tmp_path: Path):
    path = tmp_path / "words.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b'"one"\r\n{"text": "tw\\u00f6"}\n\n"{}"')
    assert list(iter_corpus(path)) == ["one", "twö", "", "{}"]


def test_json_yields_every_instance_of_an_image(tmp_path: Path):
    path = tmp_path / "spotting.json"
    instances = [{"text": "one", "bbox": [0, 0, 1, 1]}, {"text": "two"}]
    data = {"data_list": [{"instances": instances}, {"instances": []}]}
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(data).encode())
    assert list(iter_corpus(path)) == ["one", "two"]


def test_lmdb_values_may_be_json(tmp_path: Path):
    values = ['{"filename": "1.jpg", "text": "twö"}', "{}", '{"text": 1}', '"quoted"', "{", "12"]
    path = write_lmdb(tmp_path / "labels", values)
    assert list(iter_corpus(path)) == ["twö", *values[1:]]


def test_lmdb_is_closed_after_reading_and_after_stopping(tmp_path: Path):
    path = write_lmdb(tmp_path / "labels", ["one", "two"])
    labels = iter_corpus(path)
    assert next(labels) == "one"
    del labels
    # LMDB refuses to open what this process still holds open.
    assert list(iter_corpora([path, path])) == ["one", "two"] * 2
    with lmdb.open(str(path), readonly=True, lock=False) as env:
        assert env.stat()["entries"] == 5


def test_text_is_streamed(tmp_path: Path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"one\ntwo\n" + b"\xff\n")
    labels = iter_corpus(path)
    assert [next(labels), next(labels)] == ["one", "two"]
    with pytest.raises(ValueError, match="line 3"):
        next(labels)


def test_corpora_follow_each_other_in_order(tmp_path: Path):
    paths = [WRITERS[name](tmp_path / name, [name, "same"]) for name in WRITERS]
    expected = [label for name in WRITERS for label in (name, "same")]
    assert list(iter_corpora(paths)) == expected
    assert list(iter_corpora([])) == []


def test_a_bad_path_is_found_before_anything_is_read(tmp_path: Path):
    good = write_text(tmp_path / "words.txt", ["one"])
    with pytest.raises(FileNotFoundError, match=r"no corpus at .*lost\.txt"):
        iter_corpora([good, tmp_path / "lost.txt"])


def test_one_string_for_many_paths_is_refused(tmp_path: Path):
    with pytest.raises(TypeError, match=r"write \['words.txt'\]"):
        iter_corpora("words.txt")


def test_a_folder_without_lmdb_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"folder without a data\.mdb, expected an LMDB folder"):
        iter_corpus(tmp_path)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path):
    path = write_text(tmp_path / "words.csv", ["one"])
    with pytest.raises(ValueError, match=r"'\.csv', expected one of \.txt, \.jsonl, \.json or an"):
        iter_corpus(path)


def test_words_of_a_language(monkeypatch: pytest.MonkeyPatch):
    words = {"bn": ["এই", "না", "করে"], "en": ["the", "to", "and"], "el": ["τησ", "σ", "σοσ'τησ"]}
    package = SimpleNamespace(  # the real one has 100 MB of words
        available_languages=lambda: words, iter_wordlist=lambda language: iter(words[language])
    )
    monkeypatch.setitem(sys.modules, "wordfreq", package)
    assert list(iter_corpora(["wordfreq:bn", "wordfreq:en:2"])) == [*words["bn"], "the", "to"]
    assert list(iter_corpora(["wordfreq:el"])) == ["της", "σ", "σος'της"]
    for name in ("wordfreq:xx", "wordfreq:en:many", "wordfreq:"):
        with pytest.raises(ValueError, match=f"found '{name}'.*one of the languages bn, el, en"):
            iter_corpora([name])
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(ValueError, match=r"pip install 'mmdptr\[languages\]'"):
        iter_corpora(["wordfreq:en"])


def test_a_format_joins_by_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_text(tmp_path / "words.csv", ["one"])
    monkeypatch.setitem(corpora.READERS, ".csv", lambda path: iter([path.stem]))
    assert list(iter_corpus(path)) == ["words"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"one\ntw\xf6\n", r"a\.txt, line 2: found byte 0xf6 at offset 2, expected UTF-8"),
        ("a.txt", "one\n".encode("utf-16"), r"a\.txt, line 1: found byte 0xff at offset 0"),
        ("a.jsonl", b'"one"\n"\xf6"\n', r"a\.jsonl, line 2: found byte 0xf6 at offset 1"),
        ("a.jsonl", b'"one"\n{"text": \n', r"a\.jsonl, line 2: found broken JSON \(Expecting"),
        ("a.jsonl", b"1" * 5000, r"a\.jsonl, line 1: found (broken JSON|1+)"),
        (
            "a.jsonl",
            b'{"label": "x"}',
            r"a\.jsonl, line 1: found \{'label': 'x'\}, expected an obj",
        ),
        ("a.jsonl", b'{"text": 12}', r"a\.jsonl, line 1: found \{'text': 12\}.* in quotes"),
        ("a.jsonl", b"12", r"a\.jsonl, line 1: found 12, expected an object whose 'text'"),
        ("a.json", b'{"data_list": "\xf6"}', r"a\.json: found byte 0xf6 at offset 15"),
        ("a.json", b'{"data_list": [', r"a\.json: found broken JSON"),
        ("a.json", b'"one"\n"two"\n', r"a\.json: found broken JSON \(Extra data.*\.jsonl"),
        ("a.json", b'["one"]', r"a\.json: found \['one'\], expected an MMOCR 1\.x annotation"),
        (
            "a.json",
            b'{"data_list": {}}',
            r"a\.json: found \{'data_list': \{\}\}, expected an MMOCR",
        ),
        ("a.json", b'{"data_list": [{}]}', r"data_list\[0\]: found \{\}, expected \{'instances'"),
        ("a.json", b'{"data_list": ["x"]}', r"a\.json, data_list\[0\]: found 'x'"),
        (
            "a.json",
            b'{"data_list": [{"instances": []}, {"instances": [{"text": "x"}, {"t": "y"}]}]}',
            r"a\.json, data_list\[1\]\.instances\[1\]: found \{'t': 'y'\}, expected an object",
        ),
    ],
)
def test_damaged_files_are_named(name: str, content: bytes, message: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(iter_corpus(path))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({b"label-000000001": b"x"}, r"key 'num-samples': found nothing, expected the keys of MMO"),
        ({b"num-samples": b"many"}, r"key 'num-samples': found 'many', expected a number"),
        ({b"num-samples": b"1"}, r"key 'label-000000001': found nothing"),
        (
            {b"num-samples": b"2", b"label-000000001": b"x", b"label-000000002": b"\xf6"},
            r"key 'label-000000002': found byte 0xf6 at offset 0, expected UTF-8",
        ),
    ],
)
def test_damaged_lmdb_keys_are_named(items: dict[bytes, bytes], message: str, tmp_path: Path):
    path = write_items(tmp_path / "labels", items)
    with pytest.raises(ValueError, match=rf"labels, {message}"):
        list(iter_corpus(path))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"no database" * 1000])
def test_a_foreign_data_mdb_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read: found '.*', expected an intact LMDB"):
        list(iter_corpus(tmp_path))


def test_a_truncated_lmdb_is_refused(tmp_path: Path):
    path = write_lmdb(tmp_path / "labels", ["word"] * 1000)
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[:-1])
    message = f"data.mdb is truncated: found {len(data) - 1} bytes, expected {len(data)}"
    with pytest.raises(ValueError, match=message):
        list(iter_corpus(path))


def test_an_lmdb_damaged_inside_is_refused(tmp_path: Path):
    path = write_lmdb(tmp_path / "labels", ["word"] * 1000)
    data = (path / "data.mdb").read_bytes()
    with lmdb.open(str(path), readonly=True, lock=False) as env:
        meta_pages = 2 * env.stat()["psize"]
    (path / "data.mdb").write_bytes(data[:meta_pages] + b"\0" * (len(data) - meta_pages))
    with pytest.raises(ValueError, match=r"cannot be read: found '.*MDB_"):
        list(iter_corpus(path))
