# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import json
import shutil
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from mmocr.registry import DATASETS
from PIL import Image

import mmdptr  # noqa: F401
from mmdptr.embeddings.text_embedding_store import hash_labels

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
tool = importlib.import_module("render_words")

FONT = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
WORDS = [f"{a}{b}{c}" for a in "abcdefgh" for b in "aeiou" for c in "lmnrst"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photos" / "1.png")
    return folder


@pytest.fixture
def make(sources: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the tool: 25 images in three shards and 10 of words held out."""

    def run(out: Path, *options: str) -> None:
        argv = ["render_words.py", str(sources / "words.txt")]
        if options and not options[0].startswith("--"):  # another word list
            argv, options = [*argv, options[0]], options[1:]
        argv += ["--fonts", FONT]
        argv += ["--backgrounds", str(sources / "photos"), "--out", str(out)]
        argv += ["--images", "25", "--val-images", "10", "--shard-size", "10", "--codes", "0.3"]
        argv += options
        monkeypatch.setattr(sys, "argv", argv)
        tool.main()

    return run


def is_of(word: str, split: str) -> bool:
    """Whether a word is of a split, or a code, which may be of any."""
    held_out = hash_labels([word])[0] < tool.HELD_OUT * 2**32
    return word not in WORDS or held_out == (split == "val")


def test_a_shard_is_a_folder_of_images_of_one_size(make, tmp_path: Path) -> None:
    make(tmp_path, "--workers", "2", "--size", "32", "96")
    shards = {x.name: sorted(x.glob("*.jpg")) for x in sorted(tmp_path.iterdir()) if x.is_dir()}
    assert list(shards) == ["train-00000", "train-00001", "train-00002", "val-00000"]
    assert [len(x) for x in shards.values()] == [10, 10, 5, 10]
    for path in (path for shard in shards.values() for path in shard):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((96, 32), "RGB")
    with Image.open(tmp_path / "sample.png") as sheet:
        assert sheet.width > 1000


def test_mmocr_reads_the_files(make, tmp_path: Path) -> None:
    make(tmp_path, "--workers", "2")
    words = set()
    for split, number in {"train": 25, "val": 10}.items():
        dataset = DATASETS.build(
            {
                "type": "mmocr.RecogTextDataset",
                "data_root": str(tmp_path),
                "ann_file": f"{split}.jsonl",
                "parser_cfg": {"type": "mmocr.LineJsonParser", "keys": ["filename", "text"]},
            }
        )
        assert len(dataset) == number
        for index in range(number):
            info = dataset.get_data_info(index)
            with Image.open(info["img_path"]) as image:
                assert image.height > 10
            words.add(info["instances"][0]["text"].lower())
            assert is_of(info["instances"][0]["text"].lower(), split)
    assert words & set(WORDS)
    assert words - set(WORDS)  # the codes


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(make, tmp_path: Path) -> None:
    make(tmp_path / "a", "--workers", "1")
    make(tmp_path / "b", "--workers", "2")
    lost, kept = (tmp_path / "b" / tool.Shard("train", x, 10).name for x in (1, 0))
    shutil.rmtree(lost)
    lost.with_name(f"{lost.name}.123.partial").mkdir()
    before = kept.stat().st_mtime_ns
    make(tmp_path / "b", "--workers", "1")
    assert kept.stat().st_mtime_ns == before
    contents = [
        {x.relative_to(folder): x.read_bytes() for x in folder.rglob("*") if x.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert contents[0] == contents[1]


def test_words_without_a_font_or_outside_the_dictionary_are_left_out(
    make, sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dict.txt").write_text("\n".join("abcdefghioulmnrstw 日本"), encoding="utf-8")
    more = tmp_path / "more.txt"
    more.write_text("日本\nжук\ntwo cars\n", encoding="utf-8")
    make(tmp_path / "out", str(more), "--dictionary", str(tmp_path / "dict.txt"), "--codes", "0")
    printed = capsys.readouterr().out
    assert "'ж' U+0436: 1" in printed
    assert f"1 of {len(WORDS) + 2:,} labels are several words" in printed
    assert f"1 of {len(WORDS) + 1:,} words have no font" in printed
    lines = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    assert {json.loads(line)["text"].lower() for line in lines} <= set(WORDS)


def test_a_folder_of_other_settings_is_refused(make, tmp_path: Path) -> None:
    tmp_path.joinpath("settings.json").write_text(json.dumps({"seed": 0}))
    with pytest.raises(SystemExit, match="made with other settings: fonts"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--backgrounds", "bgg"), "in bgg. Give photographs"),
        (("--fonts", str(Path(FONT).with_name("DejaVuSansDisplay.ttf"))), "none of 1 fonts has"),
        (("--shard-size", "0"), "must not be zero"),
    ],
)
def test_a_command_that_fails_does_not_stand_in_the_way_of_the_right_one(
    make, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    signs = tmp_path / "signs.txt"
    signs.write_text("\n".join(WORDS) + "\n∏\n∐\n", encoding="utf-8")
    few = ("--images", "3", "--val-images", "0")
    with pytest.raises(SystemExit, match=message):
        make(tmp_path / "out", str(signs), *few, *options)
    make(tmp_path / "out", *few)
    assert (tmp_path / "out" / "train.jsonl").is_file()


def test_settings_are_written_whole_or_not_at_all(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(file: int) -> None:
        raise OSError("No space left on device")

    few = ("--images", "3", "--val-images", "0")
    monkeypatch.setattr(tool.os, "fsync", full_disk)
    with pytest.raises(SystemExit, match="No space left"):
        make(tmp_path / "out", *few)
    assert not [*(tmp_path / "out").iterdir()]
    monkeypatch.undo()
    make(tmp_path / "out", *few)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(ValueError, match="Of 1 words none is left for val"):
        tool.split_words(["aal"], {"train": 5, "val": 5})
    assert tool.split_words(["aal"], {"train": 5, "val": 0}) == {"train": ["aal"], "val": []}
