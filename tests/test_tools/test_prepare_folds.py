# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
tool = importlib.import_module("prepare_folds")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["prepare_folds", *map(str, arguments)])
        tool.main()

    return run


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    path = tmp_path / "crops" / "labels.jsonl"
    path.parent.mkdir()
    entries = [
        {"filename": f"all/{i}.jpg", "text": f"字{i}", "scene": f"s{i * i // 40}"}
        for i in range(23)
    ]
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
    return path


@pytest.mark.parametrize("group", [None, "scene"])
def test_each_crop_is_tested_once_and_never_trained_on_then(
    call: Callable[..., None], annotations: Path, tmp_path: Path, group: str | None
) -> None:
    out = tmp_path / "folds"
    call(annotations, "--out", out, "--folds", 4, *(("--group", group) if group else ()))
    names = [f"../crops/all/{i}.jpg" for i in range(23)]
    tested = []
    for i in range(4):
        train, test = lines(out / f"{i}_train.jsonl"), lines(out / f"{i}_test.jsonl")
        assert sorted(x["filename"] for x in train + test) == sorted(names)
        assert all(x["text"] == f"字{Path(x['filename']).stem}" for x in train + test)
        assert 3 <= len(test) <= 8
        tested += [x["filename"] for x in test]
        if group:
            scenes = [{int(Path(x["filename"]).stem) ** 2 // 40 for x in y} for y in (train, test)]
            assert not scenes[0] & scenes[1]
    assert sorted(tested) == sorted(names)


def test_folds_do_not_depend_on_the_place(
    call: Callable[..., None], annotations: Path, tmp_path: Path
) -> None:
    for out in (tmp_path / "a", tmp_path / "b" / "c"):
        call(annotations, "--out", out)
    for i in range(5):
        found = [
            [entry["text"] for entry in lines(tmp_path / out / f"{i}_test.jsonl")]
            for out in ("a", "b/c")
        ]
        assert found[0] == found[1]


def test_rendered_words_are_for_training_alone(
    call: Callable[..., None], annotations: Path, tmp_path: Path
) -> None:
    rendered = tmp_path / "rendered"
    rendered.mkdir()
    (rendered / "train.jsonl").write_text(json.dumps({"filename": "0.jpg", "text": "drawn"}))
    call(annotations, "--out", tmp_path / "folds", "--rendered", rendered)
    for i in range(5):
        assert lines(tmp_path / "folds" / f"{i}_train.jsonl")[-1] == {
            "filename": "../rendered/0.jpg",
            "text": "drawn",
        }
        assert "drawn" not in (tmp_path / "folds" / f"{i}_test.jsonl").read_text()


@pytest.mark.parametrize(("share", "times"), [(0.5, 9), (0.8, 36), (0.01, 1)])
def test_the_crops_are_a_share_of_the_training(
    call: Callable[..., None], annotations: Path, tmp_path: Path, share: float, times: int
) -> None:
    rendered = tmp_path / "rendered"
    rendered.mkdir()
    drawn = [json.dumps({"filename": f"{i}.jpg", "text": "drawn"}) for i in range(160)]
    (rendered / "train.jsonl").write_text("\n".join(drawn))
    call(annotations, "--out", tmp_path / "folds", "--rendered", rendered, "--share", share)
    train = Counter(x["filename"] for x in lines(tmp_path / "folds" / "0_train.jsonl"))
    crops = {name: count for name, count in train.items() if "crops" in name}
    assert len(crops) == 18
    assert {*crops.values()} == {times}
    assert sum(train.values()) - sum(crops.values()) == 160


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", 24), "Found 23 crops or groups for --folds 24"),
        (("--folds", 1), "expected 2 folds or more"),
        (("--group", "photo"), "has the fields .*'scene'.* expected --group 'photo'"),
        (("--rendered", "drawn", "--share", 1), "--share is 1.0, expected more than 0 and less"),
    ],
)
def test_what_cannot_be_split_is_refused(
    call: Callable[..., None],
    annotations: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drawn").mkdir()
    Path("drawn/train.jsonl").write_text('{"filename": "0.jpg", "text": "drawn"}')
    with pytest.raises(SystemExit, match=message):
        call(annotations, "--out", tmp_path / "folds", *options)


def test_names_are_those_of_the_crops_through_symbolic_links(
    call: Callable[..., None], annotations: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk" / "large" / "real").mkdir(parents=True)
    (tmp_path / "disk" / "large" / "real" / "0.jpg").touch()
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "large")
    (annotations.parent / "all").symlink_to(tmp_path / "data" / "real")
    (annotations.parent / "1.jpg").symlink_to(tmp_path / "data" / "real" / "0.jpg")
    for name in ("all/0.jpg", "all/../real/0.jpg", "1.jpg"):
        annotations.write_text(f"{json.dumps({'filename': name, 'text': 'a'})}\n" * 2)
        call(annotations, "--out", tmp_path / "data" / "folds", "--folds", 2)
        (entry,) = lines(tmp_path / "data" / "folds" / "0_train.jsonl")
        assert (tmp_path / "data" / "folds" / entry["filename"]).is_file()
        assert Path(entry["filename"]).name == Path(name).name


def test_a_text_may_hold_any_separator_or_be_a_number(
    call: Callable[..., None], annotations: Path, tmp_path: Path
) -> None:
    texts = ["a\u2028b", "c\x85d", 12, 1.5]
    entries = [
        json.dumps({"filename": f"{i}.jpg", "text": text}, ensure_ascii=False)
        for i, text in enumerate(texts)
    ]
    annotations.write_text("\n\n".join(entries) + "\n \n", encoding="utf-8")
    call(annotations, "--out", tmp_path / "folds", "--folds", 2)
    tested = [x for i in range(2) for x in lines(tmp_path / "folds" / f"{i}_test.jsonl")]
    found = {x["filename"]: x["text"] for x in tested}
    assert found == {f"../crops/{i}.jpg": str(text) for i, text in enumerate(texts)}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"text": "a"}',
        *(f'{{"filename": "a.jpg", "text": {x}}}' for x in ("null", "true", "[1]")),
    ],
)
def test_a_line_that_is_no_annotation_is_named(
    call: Callable[..., None], annotations: Path, tmp_path: Path, line: str
) -> None:
    annotations.write_text(annotations.read_text() + line)
    with pytest.raises(SystemExit, match=r"labels.jsonl, line 24: found .*, expected"):
        call(annotations, "--out", tmp_path / "folds")
