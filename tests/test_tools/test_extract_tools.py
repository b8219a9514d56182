# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The command lines of both extractions, in processes of their own where it matters."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmdptr.embeddings import ORPBank, TextEmbeddingStore

TOOLS = Path(__file__).parents[2] / "tools"
CLIP = ("--model", "mmdptr-tiny", "--pretrained", "random")

sys.path.insert(0, str(TOOLS))
text_tool = importlib.import_module("extract_text_embeddings")
bank_tool = importlib.import_module("extract_orp_bank")


def run(tool: str, *args: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOLS / f"{tool}.py"), *map(str, args)],
        cwd=folder,  # not the repository: the package must be found by itself
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("hello\nHello\nworld\n\n2024\nnaïve\nabcdefghijklm\n")
    return path


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a tool in this process; return what it printed."""

    def run_main(tool, *args):
        monkeypatch.setattr(sys, "argv", [tool.__name__, *map(str, args)])
        tool.main()
        return capsys.readouterr().out

    return run_main


def test_text_command_line(corpus, tmp_path):
    (tmp_path / "dictionary").write_text("\n".join("abcdefghijklmnopqrstuvwxyz"))
    options = ("--dictionary", "dictionary", "--max-length", 12, "--spelling", "characters")
    result = run(
        "extract_text_embeddings",
        *(corpus, "--out", "store", *CLIP, *options, "--threads", 1),
        folder=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == ["hello", "world"]
    assert [len(store.memory(i)) for i in range(2)] == [8, 8]
    counts = {"labels read": 7, "kept": 2, "duplicate": 1, "not in dictionary": 2, "too long": 1}
    for name, count in counts.items():
        assert re.search(rf"^ *{name} +{count} ", result.stdout, re.MULTILINE)
    assert "'ï' U+00EF: 1" in result.stdout
    assert "store: 2 labels, 0.0 MB" in result.stdout
    assert "2/2" in result.stderr  # the progress bar


def test_bank_command_line(image_folder, tmp_path):
    (tmp_path / "images").symlink_to(image_folder)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    try:
        result = run(
            "extract_orp_bank", "images", "--out", "bank", *CLIP, "--threads", 1, folder=tmp_path
        )
    finally:
        (tmp_path / "images" / "notes.txt").unlink()
    assert result.returncode == 0, result.stderr
    assert len(ORPBank(tmp_path / "bank")) == 5
    assert result.stdout.splitlines() == ["bank: 5 images.", "Skipped 1: notes.txt"]
    assert "6/6" in result.stderr


def test_defaults_are_those_of_the_paper(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool", "words.txt", "--out", "store"])
    args = text_tool.parse_args()
    assert (args.model, args.pretrained) == ("ViT-B-16-quickgelu", None)
    assert (args.prompt, args.spelling, args.max_length) == ("a photo of a '{}'", "word", 25)
    assert (args.precision, args.device) == ("fp32", "cpu")
    assert not any([args.keep_padding, args.joint_space, args.overwrite])


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ([], 3),
        (["--keep-padding"], 72),
        (["--spelling", "characters"], 7),
        (["--prompt", "{}"], 2),
    ],
)
def test_options_reach_the_encoder(call, corpus, tmp_path, options, rows):
    call(text_tool, corpus, "--out", tmp_path / "store", *CLIP, *options)
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.label(0) == "hello"
    assert len(store.memory(0)) == 1 + rows - (options == ["--keep-padding"])


def test_case_is_kept_on_demand(call, corpus, tmp_path):
    call(text_tool, corpus, "--out", tmp_path / "a", *CLIP, "--letter-case", "unchanged")
    call(text_tool, corpus, "--out", tmp_path / "b", *CLIP, "--letter-case", "upper")
    assert TextEmbeddingStore(tmp_path / "a").labels()[:2] == ["hello", "Hello"]
    assert TextEmbeddingStore(tmp_path / "b").labels()[:2] == ["HELLO", "WORLD"]


def test_seed_and_limit_choose_the_images(call, image_folder, tmp_path):
    chosen = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        options = ("--limit", 3, "--seed", seed)
        call(bank_tool, image_folder, "--out", tmp_path / out, *CLIP, *options)
        bank = ORPBank(tmp_path / out)
        assert len(bank) == 3
        chosen.append(bank.manifest["source"]["images"])
    assert chosen[0] == chosen[1] != chosen[2]


def test_verify_finds_damage(call, text_store, orp_bank, corpus, tmp_path):
    found = call(text_tool, "--out", text_store, "--verify")
    assert "complete and undamaged: 200 labels" in found
    found = call(bank_tool, "--out", orp_bank, "--verify")
    assert "complete and undamaged: 5 images" in found
    call(text_tool, corpus, "--out", tmp_path / "store", *CLIP)
    shard = tmp_path / "store" / "labels-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(SystemExit, match=r"Error: .*labels-00000\.safetensors is damaged"):
        call(text_tool, corpus, "--out", tmp_path / "store", "--verify")
    # As the message says.
    call(text_tool, corpus, "--out", tmp_path / "store", *CLIP, "--overwrite")
    call(text_tool, corpus, "--out", tmp_path / "store", "--verify")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "ViT-B-16"], r"trained with QuickGELU.*'ViT-B-16-quickgelu'"),
        (["--model", "ViT-X", "--pretrained", "random"], "no model 'ViT-X'"),
        (["--pretrained", "weights.pt"], r"'weights\.pt' does not exist"),
        ([*CLIP, "--prompt", "no place"], "exactly once"),
        ([*CLIP, "--dictionary", "nothing.txt"], r"nothing\.txt"),
        ([*CLIP, "--min-length", "20"], r"No label of the corpora can be used(.|\n)*too short"),
        ([*CLIP, "--shard-size", "0"], "shard_size is 0"),
    ],
)
def test_mistakes_end_with_a_message(call, corpus, tmp_path, options, message):
    with pytest.raises(SystemExit, match=f"^Error: .*{message}"):
        call(text_tool, corpus, "--out", tmp_path / "store", *options)
    assert not (tmp_path / "store").exists()


def test_mistakes_about_images_end_with_a_message(call, tmp_path):
    with pytest.raises(SystemExit, match=r"^Error: .*nothing is not a folder"):
        call(bank_tool, tmp_path / "nothing", "--out", tmp_path / "bank", *CLIP)


@pytest.mark.parametrize("tool", [text_tool, bank_tool])
def test_only_verifying_needs_no_input(call, tmp_path, capsys, tool):
    with pytest.raises(SystemExit):
        call(tool, "--out", tmp_path / "out", *CLIP)
    assert "only --verify needs none" in capsys.readouterr().err
