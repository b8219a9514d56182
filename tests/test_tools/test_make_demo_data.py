# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import json
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
tool = importlib.import_module("make_demo_data")
rendering = importlib.import_module("demo_rendering")
words_tool = importlib.import_module("demo_words")

ARGS = ["--train", "40", "--test", "10", "--words", "2000", "--backgrounds", "12", "--sample", "6"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A small sample set, made without any network."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    folder = tmp_path_factory.mktemp("data") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        patch.setattr(socket, "create_connection", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        tool.main([str(folder), *ARGS])
    return folder


def read_labels(folder, split):
    lines = (folder / f"labels_{split}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def read_bytes(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_labels_and_files_agree(demo):
    for split, count in (("train", 40), ("test", 10)):
        labels = read_labels(demo, split)
        names = [label["filename"] for label in labels]
        assert names == [f"{split}/{path.name}" for path in sorted((demo / split).iterdir())]
        assert len(names) == count
        for label in labels:
            assert set(label) == {"filename", "text"}
            text = label["text"]
            assert re.fullmatch("[a-zA-Z]{3,10}", text)
            assert text in (text.lower(), text.capitalize(), text.upper())


def test_test_words_are_unseen(demo):
    train, test = (
        {label["text"].lower() for label in read_labels(demo, split)} for split in tool.SPLITS
    )
    corpus = (demo / "words.txt").read_text().split()
    assert len(train) == 40
    assert len(test) == 10
    assert not test & train
    assert not test & set(corpus)


def test_corpus_covers_the_characters(demo):
    corpus = (demo / "words.txt").read_text().splitlines()
    assert len(corpus) == len(set(corpus)) == 2000
    assert set("".join(corpus)) == set(words_tool.ALPHABET)
    assert sum(word.isalpha() for word in corpus) > 0.8 * len(corpus)


def test_images_show_something(demo):
    for path in (demo / "train").iterdir():
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert 32 <= image.height <= 64
            assert np.asarray(image.convert("L")).std() > 3


def test_backgrounds_are_varied_photographs(demo):
    pictures = [Image.open(path) for path in sorted((demo / "backgrounds").glob("*.jpg"))]
    assert len(pictures) == 12
    assert {picture.size for picture in pictures} == {(240, 240)}
    assert len({picture.tobytes() for picture in pictures}) == 12
    assert all(np.asarray(picture).std() > 3 for picture in pictures)


def test_same_seed_gives_the_same_bytes(demo, tmp_path):
    tool.main([str(tmp_path), *ARGS])
    assert read_bytes(tmp_path) == read_bytes(demo)


def test_seed_changes_words_and_images(demo, tmp_path):
    tool.main([str(tmp_path), *ARGS, "--seed", "1"])
    other, first = read_bytes(tmp_path), read_bytes(demo)
    assert other["labels_test.jsonl"] != first["labels_test.jsonl"]
    assert other["train/00001.png"] != first["train/00001.png"]


def test_complete_folder_is_left_alone(demo, capsys):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    tool.main([str(demo), *ARGS])
    assert "complete" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in demo.rglob("*")}


def test_other_arguments_are_refused(demo):
    before = read_bytes(demo)
    with pytest.raises(SystemExit, match=r"--seed 0 \(expected 3\).*--overwrite") as error:
        tool.main([str(demo), *ARGS, "--seed", "3"])
    assert "--train" not in str(error.value)
    assert read_bytes(demo) == before


def test_overwrite_replaces_the_sample_set(tmp_path):
    small = ["--words", "2000", "--test", "2", "--backgrounds", "0", "--sample", "0"]
    tool.main([str(tmp_path), *small, "--train", "3"])
    (tmp_path / "notes.txt").write_text("mine")
    tool.main([str(tmp_path), *small, "--train", "2", "--overwrite"])
    assert len(list((tmp_path / "train").iterdir())) == 2
    assert json.loads((tmp_path / "demo.json").read_text())["train"] == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_interrupted_run_is_made_again(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    args = [str(tmp_path), *ARGS]
    monkeypatch.setattr(tool, "contact_sheet", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tool.main(args)
    assert not (tmp_path / "demo.json").exists()
    monkeypatch.undo()
    tool.main(args)
    assert (tmp_path / "demo.json").exists()
    assert not (tmp_path / "demo.json.partial").exists()


def test_folder_of_others_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit, match=r"holds train, but no demo\.json"):
        tool.main([str(tmp_path), *ARGS])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--words", "40"], "miss the characters"),
        (["--words", "90000"], "--words of at most"),
        (["--test", "9000"], "--test of at most"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, args, message):
    with pytest.raises(SystemExit, match=message):
        tool.main([str(tmp_path / "demo"), *args])
    assert not (tmp_path / "demo").exists()


def test_missing_package_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt inside the package open_clip"):
        rendering.package_file("open_clip", "nothing.txt")
    with pytest.raises(FileNotFoundError, match="not installed"):
        rendering.package_file("no_such_package_here", "nothing.txt")


def test_perspective_maps_corners():
    target = np.array([[0, 0], [10, 1], [11, 8], [-1, 7]], dtype=float)
    source = np.array([[0, 0], [20, 0], [20, 10], [0, 10]], dtype=float)
    a, b, c, d, e, f, g, h = rendering.perspective_coefficients(target, source)
    for (x, y), expected in zip(target, source, strict=True):
        scale = g * x + h * y + 1
        found = ((a * x + b * y + c) / scale, (d * x + e * y + f) / scale)
        assert found == pytest.approx(expected)


def test_text_colour_stands_out():
    rng = np.random.default_rng(0)
    for shade in (0, 128, 255):
        background = np.full((32, 64, 3), shade, dtype=np.float32)
        colour = rendering.pick_text_colour(rng, background, contrast=3)
        pair = sorted(rendering.luminance(np.stack([colour, background[0, 0]])) + 0.05)
        assert pair[1] / pair[0] >= 3
