# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import open_clip
import pytest
import torch

from mmdptr.clip import (
    CLIPTextEncoder,
    Prompt,
    load_clip,
    merge_characters,
    tokenize_label,
)
from mmdptr.clip.text_encoder import EXCEEDS_CONTEXT
from mmdptr.datasets.filter_report import FilterReport
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import TextEmbeddingStore
from mmdptr.embeddings.beginning import lock_folder
from mmdptr.embeddings.text_embedding_store import POOLED
from mmdptr.extraction import extract_text_embeddings

from ..interruption import Killed, kill_at, read_bytes

TOOLS = Path(__file__).parents[2] / "tools"
WORDS = ["hello", "sun", "trust", "a", "2024", "don't", "naïve", "incomprehensible", "x-ray", "s"]
SPELLED = Prompt(spelling="characters")


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS))
    return path


def extract(
    corpora: Path | Sequence[Path], folder: Path, encoder: CLIPTextEncoder, **options: Any
) -> Any:
    corpora = [corpora] if isinstance(corpora, Path) else corpora
    label_filter = options.pop("label_filter", None) or LabelFilter(max_length=None)
    return extract_text_embeddings(
        corpora, folder, encoder, label_filter, **{"shard_size": 3, **options}
    )


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return CLIPTextEncoder(tiny_clip)


def test_a_second_extraction_is_refused_and_disturbs_nobody(tiny_clip, encoder, corpus, tmp_path):
    (tmp_path / "other.txt").write_text("other\nwords")

    class Interrupted(CLIPTextEncoder):
        refused = False

        def encode_ids(self, sentences: Sequence[Sequence[int]]) -> Any:
            if not self.refused:
                self.refused = True
                with pytest.raises(RuntimeError, match="being written by another process"):
                    extract(tmp_path / "other.txt", tmp_path / "store", encoder)
            return super().encode_ids(sentences)

    extract(corpus, tmp_path / "store", Interrupted(tiny_clip))
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == WORDS
    assert store.manifest["num_labels"] == len(WORDS)
    assert not list(tmp_path.glob(".store.labels*"))


def test_a_store_with_shards_missing_is_not_finished(tiny_clip, corpus, tmp_path):
    class Deleting(CLIPTextEncoder):
        def prefix_features(self) -> Any:
            (tmp_path / "store" / "labels-00000.safetensors.json").unlink()
            return super().prefix_features()

    with pytest.raises(RuntimeError, match="has 7 labels in 4 shards, expected 10"):
        extract(corpus, tmp_path / "store", Deleting(tiny_clip))
    extract(corpus, tmp_path / "store", CLIPTextEncoder(tiny_clip))
    assert TextEmbeddingStore(tmp_path / "store").labels() == WORDS


@pytest.mark.parametrize("keep_padding", [False, True])
@pytest.mark.parametrize("joint_space", [False, True])
@pytest.mark.parametrize("prompt", [Prompt(), SPELLED])
def test_store_holds_what_the_encoder_computes(
    tiny_clip, corpus, tmp_path, keep_padding, joint_space, prompt
):
    encoder = CLIPTextEncoder(tiny_clip, prompt, keep_padding, joint_space)
    extract(corpus, tmp_path / "store", encoder)
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == WORDS
    assert store.keeps_padding is keep_padding
    torch.testing.assert_close(store.prefix, encoder.prefix_features().half())
    for index, word in enumerate(WORDS):
        ends = tokenize_label(encoder, word).ends
        features = merge_characters(encoder.encode([word]), [ends])
        own = torch.cat([features.pooled, features.tokens])
        found = store.memory(index).float()
        torch.testing.assert_close(found, own, atol=2e-3, rtol=1e-3)
        whole = store.memory(index, with_prefix=True)
        if keep_padding:
            assert len(whole) == 78  # the paper's
        start = int(features.prefix_lengths)
        assert len(whole) - len(found) == start
        ids = [POOLED, *encoder.prefix_ids[:start], *features.token_ids.tolist()]
        assert store.token_ids(index, with_prefix=True).tolist() == ids


def test_manifest_says_what_it_was_made_of(encoder, corpus, tmp_path):
    extract(corpus, tmp_path / "store", encoder)
    manifest = TextEmbeddingStore(tmp_path / "store").manifest
    assert manifest["source"]["clip"] == encoder.clip.identity.to_dict()
    assert manifest["source"]["prompt"] == {"template": "a photo of a '{}'", "spelling": "word"}
    assert manifest["source"]["letter_case"] == "lower"
    assert manifest["num_labels"] == len(WORDS)
    assert manifest["max_label_length"] == len("incomprehensible")
    assert manifest["characters"] == sorted(set("".join(WORDS)))
    assert str(tmp_path) not in (tmp_path / "store" / "manifest.json").read_text()


def write_corpora(folder: Path) -> list[Path]:
    (folder / "a.txt").write_text("one\nTwo\n\n")
    (folder / "b.jsonl").write_text('{"filename": "x.png", "text": "three"}\n"one"\n')
    items = [{"img_path": "y.png", "instances": [{"text": "four"}, {"text": "fünf"}]}]
    (folder / "c.json").write_text(json.dumps({"metainfo": {}, "data_list": items}))
    with lmdb.open(str(folder / "d"), map_size=1 << 20) as env, env.begin(write=True) as txn:
        txn.put(b"num-samples", b"2")
        txn.put(b"label-000000001", b"six")
        txn.put(b"label-000000002", b"TWO")
    return [folder / name for name in ("a.txt", "b.jsonl", "c.json", "d")]


def test_corpora_of_all_formats_make_one_store(encoder, tmp_path):
    label_filter = LabelFilter(characters="abcdefghijklmnopqrstuvwxyz", max_length=25)
    report = extract(
        write_corpora(tmp_path), tmp_path / "store", encoder, label_filter=label_filter
    )
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == ["one", "two", "three", "four", "six"]
    assert (report.read, report.kept) == (9, 5)
    dropped = {reason: count for reason, count in report.dropped.items() if count}
    assert dropped == {"empty": 1, "not in dictionary": 1, "duplicate": 2}
    assert report.examples["not in dictionary"] == ["fünf"]
    assert store.manifest["report"] == report.to_dict()


def test_labels_beyond_the_context_are_counted_and_named(tiny_clip, corpus, tmp_path):
    long = ["b" * 70, "c" * 200]
    corpus.write_text("\n".join([long[0], *WORDS, long[1]]))
    encoder = CLIPTextEncoder(tiny_clip, SPELLED)
    for _ in range(2):  # the second time it finds the store finished
        report = extract(corpus, tmp_path / "store", encoder)
        assert report.dropped[EXCEEDS_CONTEXT] == 2
        assert report.examples[EXCEEDS_CONTEXT] == long
        assert (report.read, report.kept) == (len(WORDS) + 2, len(WORDS))
        assert EXCEEDS_CONTEXT in str(report)
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == WORDS
    assert store.manifest["report"]["dropped"]["exceeds CLIP context"] == 2
    assert store.manifest["max_label_length"] == len("incomprehensible")


def test_shard_of_which_nothing_fits(tiny_clip, corpus, tmp_path):
    corpus.write_text("\n".join([*WORDS[:3], "b" * 70, "c" * 70, "e" * 70, "last"]))
    extract(corpus, tmp_path / "store", CLIPTextEncoder(tiny_clip, SPELLED))
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == [*WORDS[:3], "last"]
    assert len(store.memory(3)) == 1 + 6


def test_store_without_a_fitting_label_is_refused(tiny_clip, encoder, corpus, tmp_path):
    corpus.write_text("b" * 70)
    with pytest.raises(ValueError, match=r"CLIP can encode no label(.|\n)*exceeds CLIP context"):
        extract(corpus, tmp_path / "store", CLIPTextEncoder(tiny_clip, SPELLED))
    assert not (tmp_path / "store").exists()
    assert not list(tmp_path.glob(".store.labels*"))
    # Nothing is in the way of another try.
    corpus.write_text("hello")
    extract(corpus, tmp_path / "store", encoder)
    assert TextEmbeddingStore(tmp_path / "store").labels() == ["hello"]


def test_of_many_refused_labels_the_first_are_listed(tiny_clip, corpus, tmp_path):
    refused = [f"{i:070}" for i in range(15)] + ["b" * 300]
    corpus.write_text("\n".join([*WORDS, *refused]))
    encoder = CLIPTextEncoder(tiny_clip, SPELLED)
    for _ in range(2):  # the second time it finds the store finished
        report = extract(corpus, tmp_path / "store", encoder, shard_size=100)
        assert report.dropped[EXCEEDS_CONTEXT] == len(refused)
        assert report.examples[EXCEEDS_CONTEXT] == refused[:10]
        assert report.kept == len(WORDS)
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.manifest["report"] == report.to_dict()
    assert (store.manifest["num_labels"], store.manifest["max_label_length"]) == (10, 16)
    assert store.manifest["characters"] == sorted(set("".join(WORDS)))
    shard = store.manifest["files"]["labels-00000"]
    assert shard["refused"] == [[label, EXCEEDS_CONTEXT] for label in refused[:10]]
    assert shard["unlisted"] == {EXCEEDS_CONTEXT: 6}


def test_a_run_that_listed_all_refused_labels_is_gone_on_with(tiny_clip, corpus, tmp_path):
    refused = [f"{i:070}" for i in range(12)]
    corpus.write_text("\n".join([*refused, *WORDS]))
    encoder, folder = CLIPTextEncoder(tiny_clip, SPELLED), tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 4)  # behind the list of labels, the manifest, and a shard with its note
        patch.setattr(FilterReport, "MAX_EXAMPLES", 100)
        with pytest.raises(Killed):
            extract(corpus, folder, encoder, shard_size=15)
    note = json.loads((folder / "labels-00000.safetensors.json").read_text())
    assert len(note["entry"]["refused"]) == 12
    report = extract(corpus, folder, encoder, shard_size=15)
    assert report.dropped[EXCEEDS_CONTEXT] == 12
    assert report.examples[EXCEEDS_CONTEXT] == refused[:10]
    assert TextEmbeddingStore(folder).labels() == WORDS


def unreadable(tmp_path: Path) -> Path:
    """A corpus whose reading fails."""
    path = tmp_path / "unreadable.jsonl"
    path.write_text("no label")
    return path


@pytest.mark.parametrize("reason", ["lock", "source", "prompt", "manifest", "files"])
def test_what_is_in_the_way_is_said_before_the_corpora_are_read(
    tiny_clip, encoder, corpus, tmp_path, reason
):
    folder, options = tmp_path / "store", {}
    locked = contextlib.nullcontext()
    if reason == "files":
        folder.mkdir()
        (folder / "photo.jpg").touch()
    else:
        extract(corpus, folder, encoder)
    if reason == "lock":
        locked = lock_folder(folder)
    elif reason == "source":
        options = {"shard_size": 4}
    elif reason == "prompt":
        encoder = CLIPTextEncoder(tiny_clip, SPELLED)
    elif reason == "manifest":
        (folder / "manifest.json").write_text('{"name": "my web app"}')
    message = {
        "lock": "being written by another process",
        "source": "these differ: shard_size is 3 there and 4 now. Choose",
        "prompt": r"these differ: prompt\.spelling is 'word' there and 'characters' now\. Choose",
        "manifest": "not a folder of text_embeddings",
        "files": r"holds no manifest\.json",
    }[reason]
    with locked, pytest.raises((ValueError, RuntimeError), match=message):
        extract(unreadable(tmp_path), folder, encoder, **options)


def test_while_the_corpora_are_read_nobody_else_may_write(encoder, corpus, tmp_path):
    class Interrupted(LabelFilter):
        def __call__(self, labels: Iterable[str]) -> Iterator[str]:
            for number, label in enumerate(super().__call__(labels)):
                if number == 5:
                    with pytest.raises(RuntimeError, match="being written by another process"):
                        extract(tmp_path / "other.txt", tmp_path / "store", encoder)
                yield label

    (tmp_path / "other.txt").write_text("other\nwords")
    extract(corpus, tmp_path / "store", encoder, label_filter=Interrupted())
    assert TextEmbeddingStore(tmp_path / "store").labels() == WORDS


@pytest.mark.parametrize("content", ["", "\n\n", "ünknown\n"])
def test_empty_corpus_is_refused_with_the_report(encoder, corpus, tmp_path, content):
    corpus.write_text(content)
    label_filter = LabelFilter(characters="abc")
    with pytest.raises(ValueError, match=r"No label of the corpora(.|\n)*labels read  "):
        extract(corpus, tmp_path / "store", encoder, label_filter=label_filter)
    assert not (tmp_path / "store").exists()


def test_missing_corpus_is_named(encoder, corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        extract([corpus, tmp_path / "nothing.txt"], tmp_path / "store", encoder)


@pytest.mark.parametrize("size", [0, -1])
def test_shard_size_must_be_positive(encoder, corpus, tmp_path, size):
    with pytest.raises(ValueError, match=f"shard_size is {size}, expected 1 or more"):
        extract(corpus, tmp_path / "store", encoder, shard_size=size)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("seed", r"clip\.weights_sha256 is '\w{64}' there and '\w{64}' now"),
        ("prompt", r"prompt\.template is .* there and 'say \{\}' now"),
        ("spelling", r"prompt\.spelling is 'word' there and 'characters' now"),
        ("words", r"labels_sha256 is .*num_labels is 10 there and 11 now"),
        ("keep_padding", r"keep_padding is False there and True now"),
        ("joint_space", r"joint_space is False there and True now"),
        ("letter_case", r"letter_case is 'lower' there and 'unchanged' now"),
        ("shard_size", r"shard_size is 3 there and 4 now"),
    ],
)
def test_store_of_another_source_is_kept(tiny_clip, corpus, tmp_path, change, named):
    folder = tmp_path / "store"
    extract(corpus, folder, CLIPTextEncoder(tiny_clip))
    before = read_bytes(folder)
    clip = load_clip("mmdptr-tiny", "random", seed=1) if change == "seed" else tiny_clip
    prompt = {"prompt": Prompt("say {}"), "spelling": SPELLED}.get(change)
    flags = {change: True} if change in ("keep_padding", "joint_space") else {}
    if change == "words":
        corpus.write_text("\n".join([*WORDS, "more"]))
    options: dict[str, Any] = {"shard_size": 4} if change == "shard_size" else {}
    letter_case = "unchanged" if change == "letter_case" else "lower"
    other = CLIPTextEncoder(clip, prompt, **flags)
    for overwrite in (False, True):
        options["label_filter"] = LabelFilter(letter_case=letter_case, max_length=None)
        if not overwrite:
            with pytest.raises(ValueError, match=rf"these differ: {named}.*--overwrite"):
                extract(corpus, folder, other, **options)
            assert read_bytes(folder) == before
        else:
            extract(corpus, folder, other, overwrite=True, **options)
            assert read_bytes(folder) != before


def test_other_widths_leave_the_way_out_free(corpus, tmp_path, tmp_path_factory):
    config = open_clip.get_model_config("mmdptr-tiny")
    config = {**config, "embed_dim": 128}
    path = tmp_path_factory.mktemp("configs") / "mmdptr-test-narrow.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    clip = load_clip("mmdptr-test-narrow", "random")
    with pytest.raises(ValueError, match="--joint-space"):
        extract(unreadable(tmp_path), tmp_path / "store", CLIPTextEncoder(clip))
    # What the message says works, without --overwrite.
    extract(corpus, tmp_path / "store", CLIPTextEncoder(clip, joint_space=True))
    assert TextEmbeddingStore(tmp_path / "store").width == 128


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("number", range(0, 11, 3))
def test_interrupted_anywhere_it_finishes_with_the_same_bytes(
    encoder, corpus, tmp_path, monkeypatch, number, renamed
):
    extract(corpus, tmp_path / "whole", encoder)
    kill_at(monkeypatch, number, renamed)
    with pytest.raises(Killed):
        extract(corpus, tmp_path / "killed", encoder)
    monkeypatch.undo()
    extract(corpus, tmp_path / "killed", encoder)
    assert read_bytes(tmp_path / "killed") == read_bytes(tmp_path / "whole")


def test_shards_on_disk_are_not_encoded_again(tiny_clip, corpus, tmp_path, monkeypatch):
    encoder = CLIPTextEncoder(tiny_clip)
    kill_at(monkeypatch, 7, True)  # the note of the third shard; the first is the list of labels
    with pytest.raises(Killed):
        extract(corpus, tmp_path / "store", encoder)
    monkeypatch.undo()
    encoded = []
    encode = encoder.encode_ids

    def note(sentences: Sequence[Sequence[int]]) -> Any:
        encoded.append(len(sentences))
        return encode(sentences)

    monkeypatch.setattr(encoder, "encode_ids", note)
    extract(corpus, tmp_path / "store", encoder)
    assert encoded == [1]  # of 10 words, 3 a shard


# Runs in a process of its own, which imports the tool once and forks a process for each command.
FORKS = """
import os, signal, sys, time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import extract_text_embeddings as tool


def start(folder):
    process = os.fork()
    if process == 0:
        options = "--model mmdptr-tiny --pretrained random --shard-size 2 --threads 1"
        sys.argv = ["tool", "words.txt", "--out", folder, *options.split()]
        tool.main()
        os._exit(0)
    return process


killed = start("killed")
while len(list(Path("killed").glob("labels-*.safetensors"))) < 5:
    assert os.waitpid(killed, os.WNOHANG) == (0, 0), "it has ended by itself"
    time.sleep(0.002)
os.kill(killed, signal.SIGKILL)
assert os.waitpid(killed, 0)[1] == signal.SIGKILL
assert '"complete": false' in Path("killed/manifest.json").read_text()
safe = Path("killed/labels-00002.safetensors")
before = safe.stat().st_mtime_ns
for folder in ("killed", "whole"):
    assert os.waitpid(start(folder), 0)[1] == 0
assert safe.stat().st_mtime_ns == before, "it was written again"
"""


def test_sigkill_then_the_same_command_gives_the_same_bytes(tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(f"{i:o}" for i in range(200)))
    result = subprocess.run(
        [sys.executable, "-c", FORKS, str(TOOLS)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert read_bytes(tmp_path / "killed") == read_bytes(tmp_path / "whole")
    assert len(TextEmbeddingStore(tmp_path / "killed")) == 200


def run_tool(folder: str, cwd: Path, processes: int = 0) -> subprocess.CompletedProcess:
    tool = [str(TOOLS / "extract_text_embeddings.py"), "words.txt", "--out", folder]
    tool += ["--model", "mmdptr-tiny", "--pretrained", "random"]
    tool += ["--shard-size", "7", "--threads", "1"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return subprocess.run(
        [sys.executable, "-W", "ignore", *(launcher if processes else []), *tool],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_several_processes_write_the_bytes_of_one(tmp_path: Path) -> None:
    words = [f"{i:o}" for i in range(60)]
    (tmp_path / "words.txt").write_text("\n".join([*words, "7" * 80, *words, "6" * 90]))
    # the labels that are too long are dropped by the filter, so nothing differs there
    for folder, processes in (("one", 0), ("three", 3)):
        result = run_tool(folder, tmp_path, processes)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("kB a label") == 1
    assert read_bytes(tmp_path / "three") == read_bytes(tmp_path / "one")
    assert len(read_bytes(tmp_path / "one")) == 9 + 2


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_tokenizing_processes_change_nothing(tiny_clip, corpus, tmp_path, workers):
    corpus.write_text("\n".join([*WORDS, "b" * 70, "last"]))
    encoder = CLIPTextEncoder(tiny_clip, SPELLED)
    one = extract(corpus, tmp_path / "one", encoder)
    several = extract(corpus, tmp_path / "several", encoder, workers=workers)
    assert read_bytes(tmp_path / "several") == read_bytes(tmp_path / "one")
    assert several.to_dict() == one.to_dict()


def test_tokenizing_processes_share_the_work(tiny_clip, corpus, tmp_path):
    class Noting(CLIPTextEncoder):
        def tokenize(self, label: str) -> list[int]:
            with (tmp_path / f"process{os.getpid()}").open("a") as file:
                file.write(f"{label}\n")
            return super().tokenize(label)

    extract(corpus, tmp_path / "store", Noting(tiny_clip), workers=2)
    shares = [path.read_text().split() for path in tmp_path.glob("process*")]
    assert sorted(map(len, shares)) == [4, 6]  # shards of 3, 3, 3 and 1
    assert sorted(label for share in shares for label in share) == sorted(WORDS)


def test_an_error_in_a_tokenizing_process_reaches_the_user(tiny_clip, corpus, tmp_path):
    class Failing(CLIPTextEncoder):
        def tokenize(self, label: str) -> list[int]:
            if label == "x-ray":
                raise ValueError("no token for x-ray")
            return super().tokenize(label)

    with pytest.raises(ValueError, match="no token for x-ray"):
        extract(corpus, tmp_path / "store", Failing(tiny_clip), workers=2)
    extract(corpus, tmp_path / "store", CLIPTextEncoder(tiny_clip), workers=2)
    assert TextEmbeddingStore(tmp_path / "store").labels() == WORDS


def test_one_shard_at_most_is_not_on_the_disk(tiny_clip, corpus, tmp_path):
    class Watching(CLIPTextEncoder):
        begun = 0

        def encode_ids(self, sentences: Sequence[Sequence[int]]) -> Any:
            assert len(list((tmp_path / "store").glob("labels-*.json"))) == self.begun
            self.begun += 1
            return super().encode_ids(sentences)

    watching = Watching(tiny_clip)
    extract(corpus, tmp_path / "store", watching, workers=2)
    assert watching.begun == 4


def test_the_tokenizer_does_not_remember_all_words(encoder, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("mmdptr.clip.sentences.CACHE", 4)
    corpus.write_text("\n".join([*WORDS, "<end_of_text>", "sunday"]))
    extract(corpus, tmp_path / "forgetful", encoder)
    assert len(encoder.clip.tokenizer.cache) < 4 + 3 * 3  # words and pieces of one shard more
    monkeypatch.undo()
    extract(corpus, tmp_path / "store", encoder)
    assert read_bytes(tmp_path / "forgetful") == read_bytes(tmp_path / "store")
