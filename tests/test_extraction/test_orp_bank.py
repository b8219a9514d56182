# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import logging
import shutil

import pytest
import torch
from PIL import Image

from mmdptr.clip import CLIPImageEncoder
from mmdptr.embeddings import ORPBank
from mmdptr.extraction import extract_orp_bank, find_images

from ..interruption import Killed, kill_at, read_bytes


@pytest.fixture(scope="module")
def encoder(tiny_clip):
    return CLIPImageEncoder(tiny_clip)


@pytest.fixture
def mixed(image_folder, tmp_path):
    """Five images among files that are none."""
    folder = tmp_path / "mixed"
    shutil.copytree(image_folder, folder)
    (folder / "deeper" / "still").mkdir(parents=True)
    (folder / "3.png").rename(folder / "deeper" / "still" / "3.png")
    (folder / "2a.txt").write_text("no image")
    (folder / "2b.jpg").touch()
    data = (folder / "2.png").read_bytes()
    (folder / "2c.png").write_bytes(data[: len(data) // 2])
    (folder / "2d.ppm").write_bytes(b"P6 6x 40 255 " + bytes(7200))
    return folder


def test_images_are_found_in_a_fixed_order(mixed):
    names = ["0.png", "1.png", "2.png", "2a.txt", "2b.jpg", "2c.png", "2d.ppm", "4.png"]
    expected = [mixed / name for name in [*names, "deeper/still/3.png"]]
    assert find_images(mixed) == find_images(str(mixed)) == expected


def test_hidden_files_are_left_aside(image_folder, tmp_path):
    folder = tmp_path / ".cache" / "images"  # above the folder nothing is hidden
    (folder / ".thumbnails").mkdir(parents=True)
    for path in (folder / "0.png", folder / ".1.png", folder / ".thumbnails" / "2.png"):
        shutil.copy(image_folder / "0.png", path)
    assert find_images(folder) == [folder / "0.png"]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is not a folder"):
        find_images(tmp_path / "nothing")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty holds no file"):
        find_images(tmp_path / "empty")


@pytest.mark.parametrize(("batch_size", "shard_size"), [(1, 1), (2, 3), (32, 256)])
def test_bank_holds_a_plain_forward(
    tiny_clip, encoder, image_folder, tmp_path, batch_size, shard_size
):
    files = find_images(image_folder)
    count, skipped = extract_orp_bank(files, tmp_path / "bank", encoder, batch_size, shard_size)
    assert (count, skipped) == (5, [])
    bank = ORPBank(tmp_path / "bank")
    assert (len(bank), bank.num_tokens, bank.width) == (5, 50, 256)
    for index, file in enumerate(files):
        with Image.open(file) as image, torch.inference_mode():
            expected = tiny_clip.model.encode_image(tiny_clip.preprocess(image)[None])
        found = bank.tokens(index, range(50)).float()
        torch.testing.assert_close(found[:1], expected, atol=2e-3, rtol=1e-3)
        tokens = encoder.encode(encoder.load(str(file))[None])[0]
        torch.testing.assert_close(found, tokens, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("shard_size", [1, 2, 100])
def test_files_that_are_no_images_are_named_and_skipped(
    encoder, mixed, tmp_path, caplog, shard_size
):
    bad = ["2a.txt", "2b.jpg", "2c.png", "2d.ppm"]
    with caplog.at_level(logging.WARNING, "mmdptr"):
        result = extract_orp_bank(
            find_images(mixed), tmp_path / "bank", encoder, shard_size=shard_size
        )
    assert result == (5, bad)
    for name, record in zip(bad, caplog.records, strict=True):
        assert f"{name} is not an image, or broken" in record.getMessage()
    bank = ORPBank(tmp_path / "bank")
    assert len(bank) == 5
    last = encoder.encode(encoder.load(str(mixed / "deeper" / "still" / "3.png"))[None])[0]
    torch.testing.assert_close(bank.tokens(4, range(50)).float(), last, atol=2e-3, rtol=1e-3)
    # Finished already, it says the same.
    again = extract_orp_bank(find_images(mixed), tmp_path / "bank", encoder, shard_size=shard_size)
    assert again == result


def test_no_image_at_all_is_refused(encoder, tmp_path):
    (tmp_path / "texts").mkdir()
    for name in "abc":
        (tmp_path / "texts" / f"{name}.txt").write_text(name)
    with pytest.raises(ValueError, match=r"None of the 3 files is an image.*a\.txt"):
        extract_orp_bank(find_images(tmp_path / "texts"), tmp_path / "bank", encoder, shard_size=2)
    assert not (tmp_path / "bank").exists()


def test_three_images_make_a_bank(encoder, image_folder, tmp_path):
    extract_orp_bank(find_images(image_folder)[:3], tmp_path / "bank", encoder)
    assert len(ORPBank(tmp_path / "bank")) == 3


@pytest.mark.parametrize("sizes", [{"batch_size": 0}, {"shard_size": 0}, {"shard_size": -3}])
def test_sizes_must_be_positive(encoder, image_folder, tmp_path, sizes):
    with pytest.raises(ValueError, match="expected 1 or more"):
        extract_orp_bank(find_images(image_folder), tmp_path / "bank", encoder, **sizes)


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("number", range(6))  # two shards, their manifests, and two more
def test_interrupted_anywhere_it_finishes_with_the_same_bytes(
    encoder, image_folder, orp_bank, tmp_path, monkeypatch, number, renamed
):
    files = find_images(image_folder)
    kill_at(monkeypatch, number, renamed)
    with pytest.raises(Killed):
        extract_orp_bank(files, tmp_path / "bank", encoder, shard_size=3)
    monkeypatch.undo()
    extract_orp_bank(files, tmp_path / "bank", encoder, shard_size=3)
    assert read_bytes(tmp_path / "bank") == read_bytes(orp_bank)


@pytest.mark.parametrize("change", ["fewer", "content", "shard_size"])
def test_bank_of_another_source_is_kept(encoder, image_folder, tmp_path, change):
    images, bank = tmp_path / "images", tmp_path / "bank"
    shutil.copytree(image_folder, images)
    extract_orp_bank(find_images(images), bank, encoder, shard_size=3)
    before = read_bytes(bank)
    files, size = find_images(images), 3
    if change == "fewer":
        files = files[:4]
    elif change == "content":  # another photo of the same name
        shutil.copy(images / "1.png", images / "0.png")
    else:
        size = 2
    named = "shard_size is 3 there and 2 now" if change == "shard_size" else "images is "
    with pytest.raises(ValueError, match=rf"these differ: {named}.*--overwrite"):
        extract_orp_bank(files, bank, encoder, shard_size=size)
    assert read_bytes(bank) == before
    extract_orp_bank(files, bank, encoder, shard_size=size, overwrite=True)
    assert read_bytes(bank) != before
