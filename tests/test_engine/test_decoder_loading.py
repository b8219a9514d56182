# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmocr.registry import MODELS
from torch import nn

from mmdptr.engine import Coverage, load_decoder
from mmdptr.engine.hooks.dptr_export_hook import _describe
from mmdptr.models import DPTRPretrainer
from tests.builders import CHARACTERS, MAX_SEQ_LEN, WIDTH, dictionary, nrtr, nrtr_decoder


def recognizer(**changes: Any) -> nn.Module:
    torch.manual_seed(1)
    return MODELS.build(nrtr(**{"neck": {"type": "FMU"}, **changes}))


@pytest.fixture(scope="module")
def stage1() -> DPTRPretrainer:
    torch.manual_seed(0)
    model = MODELS.build({"type": "DPTRPretrainer", "decoder": nrtr_decoder(), "embed_dims": 32})
    model.neck.update(torch.randn(4, MAX_SEQ_LEN, WIDTH), torch.full((4,), MAX_SEQ_LEN))
    return model


def save(
    model: DPTRPretrainer, path: Path, change: Callable[[dict[str, Any]], Any] | None = None
) -> Path:
    content = {"meta": {"dptr": _describe(model)}, "state_dict": dict(model.state_dict())}
    content = copy.deepcopy(content)
    if change:
        change(content)
    torch.save(content, path)
    return path


def refused(path: Path, message: str, model: nn.Module | None = None, **settings: Any) -> None:
    """Loading raises, and leaves the recognizer as it was."""
    model = model or recognizer()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        load_decoder(model, path, **settings)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_all_of_the_decoder_and_the_slot_prior_are_taken(
    stage1: DPTRPretrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = recognizer()
    before = copy.deepcopy(model.state_dict())
    with caplog.at_level(logging.INFO):
        coverage = load_decoder(model, save(stage1, tmp_path / "epoch_1.pth"))
    ours, theirs = model.decoder.state_dict(), stage1.decoder.state_dict()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert torch.equal(model.neck.queries, stage1.neck.queries)
    values = sum(tensor.numel() for tensor in theirs.values())
    assert coverage == Coverage(len(theirs), values, MAX_SEQ_LEN)
    text = f"{len(theirs)} tensors of decoder ({values / 1e6:.2f} M values, coverage 100 %), 12 FMU"
    assert text in str(coverage)
    rest = {k for k in before if not k.startswith("decoder.") and k != "neck.queries"}
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in rest)
    assert model.neck.queries.requires_grad


def test_parts_can_be_chosen(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    path = save(stage1, tmp_path / "epoch_1.pth")
    model, before = recognizer(), recognizer().state_dict()
    assert load_decoder(model, path, ["slot_prior"]).loaded == 0
    assert torch.equal(model.neck.queries, stage1.neck.queries)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items() if "decoder" in k)
    model = recognizer()
    assert load_decoder(model, path, ["decoder"]).slots == 0
    assert torch.equal(model.neck.queries, before["neck.queries"])
    torch.testing.assert_close(model.decoder.state_dict(), stage1.decoder.state_dict())
    refused(path, r"Unknown parts \['neck'\]. Expected some of decoder, slot_prior", parts=["neck"])


def test_recognizer_without_fmu_takes_the_decoder(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    model = recognizer(neck=None)
    coverage = load_decoder(model, save(stage1, tmp_path / "epoch_1.pth"))
    assert coverage.slots == 0
    assert coverage.loaded == len(model.decoder.state_dict())


@pytest.mark.parametrize("queries", [1, MAX_SEQ_LEN - 5, MAX_SEQ_LEN + 5])
def test_fewer_and_more_queries_take_what_both_have(
    stage1: DPTRPretrainer, tmp_path: Path, queries: int
) -> None:
    model = recognizer(neck={"type": "FMU", "num_queries": queries})
    before = model.neck.queries.detach().clone()
    both = min(queries, MAX_SEQ_LEN)
    assert load_decoder(model, save(stage1, tmp_path / "epoch_1.pth")).slots == both
    assert torch.equal(model.neck.queries[:both], stage1.neck.queries[:both])
    assert torch.equal(model.neck.queries[both:], before[both:])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.pth does not exist. Run stage 1 first"):
        load_decoder(recognizer(), tmp_path / "none.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", None])
def test_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.pth"
    if content is None:  # cut off in the middle
        torch.save({"state_dict": {}, "meta": {"dptr": {}}}, path)
        content = path.read_bytes()[:200]
    path.write_bytes(content)
    refused(path, "some.pth is not a readable checkpoint of stage 1")


def test_checkpoint_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nrtr.pth"
    torch.save({"meta": {"epoch": 1}, "state_dict": recognizer().state_dict()}, path)
    refused(path, r"nrtr.pth is not a readable checkpoint of stage 1 \(KeyError: 'dptr'\)")
    torch.save([1, 2], path)
    refused(path, "not a readable checkpoint")


def other_characters(tmp_path: Path, characters: str) -> nn.Module:
    (tmp_path / "other.txt").write_text("\n".join(characters) + "\n")
    decoder = nrtr_decoder(dictionary=dictionary(tmp_path / "other.txt"))
    return recognizer(decoder=decoder)


def test_other_dictionary_is_refused_by_its_characters(
    stage1: DPTRPretrainer, tmp_path: Path
) -> None:
    path = save(stage1, tmp_path / "epoch_1.pth")
    more = other_characters(tmp_path, CHARACTERS + "!?")
    refused(path, r"\[\] are only in the checkpoint's, \['!', '\?'\] only in the recog", more)
    fewer = other_characters(tmp_path, CHARACTERS[:-2])
    refused(path, r"\['y', 'z'\] are only in the checkpoint's, \[\] only in the recog", fewer)
    # as many classes, so that every tensor would fit
    other = other_characters(tmp_path, CHARACTERS[:-1] + "!")
    refused(path, r"\['z'\] are only in the checkpoint's, \['!'\] only in the recog", other)
    swapped = other_characters(tmp_path, CHARACTERS[:-2] + "zy")
    refused(path, "the same characters in another order", swapped)
    refused(path, "the same characters in another order", swapped, parts=["slot_prior"])


def test_special_tokens_belong_to_the_dictionary(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    tokens = {"with_start": True, "with_end": True, "with_padding": True}
    decoder = nrtr_decoder(dictionary=dictionary(**tokens))
    path = save(stage1, tmp_path / "epoch_1.pth")
    refused(path, "'<BOS/EOS>', '<UKN>'.*'<BOS>', '<EOS>'", recognizer(decoder=decoder))


def test_tensor_that_is_missing_is_named(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    key = "decoder.classifier.bias"
    path = save(stage1, tmp_path / "x.pth", lambda x: x["state_dict"].pop(key))
    refused(path, "x.pth lacks decoder.classifier.bias; of 24 decoder tensors nothing was loaded")


def test_tensor_that_is_left_over_is_named(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    extra = {"decoder.layer_stack.1.norm1.weight": torch.zeros(3)}
    path = save(stage1, tmp_path / "x.pth", lambda x: x["state_dict"].update(extra))
    refused(
        path,
        r"holds, but the recognizer's decoder does not have, decoder.layer_stack.1.norm1",
    )


def test_many_names_are_cut(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    path = save(stage1, tmp_path / "x.pth", lambda x: x.update(state_dict={}))
    refused(path, r"lacks decoder.classifier.bias, decoder.classifier.weight, .* and \d\d more;")
    deeper = recognizer(decoder=nrtr_decoder(n_layers=2))
    refused(
        save(stage1, tmp_path / "y.pth"), r"lacks decoder.layer_stack.1\..* and \d+ more;", deeper
    )


def test_tensor_of_another_shape_is_named(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    wider = recognizer(decoder=nrtr_decoder(d_inner=64))
    path = save(stage1, tmp_path / "x.pth")
    message = r"shapes: decoder.layer_stack.0.mlp.w_1.bias is \(128,\) there and \(64,\) here"
    refused(path, message, wider)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensor_that_is_not_finite_is_named(
    stage1: DPTRPretrainer, tmp_path: Path, value: float
) -> None:
    def spoil(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda content: content["state_dict"][key].view(-1)[3].fill_(value)

    path = save(stage1, tmp_path / "x.pth", spoil("decoder.classifier.weight"))
    refused(path, "is not finite in decoder.classifier.weight")
    path = save(stage1, tmp_path / "y.pth", spoil("neck.queries"))
    refused(path, "slot prior of .*y.pth, which holds one that is not finite; nothing was loaded")
    assert load_decoder(recognizer(), path, ["decoder"]).loaded


def test_slot_prior_that_does_not_fit_is_refused(stage1: DPTRPretrainer, tmp_path: Path) -> None:
    path = save(stage1, tmp_path / "x.pth")
    narrow = recognizer(neck={"type": "FMU", "embed_dims": 32})
    refused(path, f"queries of width 32 .* holds one of width {WIDTH}; nothing", narrow)
    path = save(stage1, tmp_path / "y.pth", lambda x: x["state_dict"].pop("neck.queries"))
    refused(path, "slot prior of .*y.pth, which holds none; nothing")


def test_statistics_of_text_features_stay_behind(tmp_path: Path) -> None:
    """A decoder with batch normalization: ABINet's."""
    decoder = {
        "type": "ABIVisionDecoder",
        "in_channels": WIDTH,
        "num_channels": 8,
        "max_seq_len": 6,
        "dictionary": dictionary(),
        "module_loss": {"type": "CEModuleLoss"},
    }
    pretrainer = MODELS.build({"type": "DPTRPretrainer", "decoder": decoder, "embed_dims": 8})
    for name, buffer in pretrainer.named_buffers():
        if "running" in name:
            buffer.fill_(7.0)
    path = tmp_path / "epoch_1.pth"
    description = {"dictionary": pretrainer.decoder.dictionary.dict}
    torch.save({"meta": {"dptr": description}, "state_dict": pretrainer.state_dict()}, path)
    model = MODELS.build(nrtr(neck={"type": "FMU"}, encoder=None, decoder=decoder))
    load_decoder(model, path)
    for (name, ours), theirs in zip(
        model.decoder.named_parameters(), pretrainer.decoder.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    statistics = {x: y for x, y in model.decoder.named_buffers() if "running" in x}
    assert len(statistics) == 16
    assert not any((buffer == 7).any() for buffer in statistics.values())


def test_the_fmu_that_typeset_text_trained_comes_with_the_decoder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = nrtr(neck={"type": "FMU"})
    torch.manual_seed(0)
    stage1 = MODELS.build(
        {
            "type": "TypesetPretrainer",
            "feature_shape": (WIDTH, 1, 8),
            "embed_dims": 32,
            **{name: parts[name] for name in ("encoder", "neck", "decoder")},
        }
    )
    path = save(stage1, tmp_path / "decoder.pth")
    model = recognizer()
    backbone = copy.deepcopy(model.backbone.state_dict())
    coverage = load_decoder(model, path)
    for name in stage1.parts:
        ours, theirs = getattr(model, name).state_dict(), getattr(stage1, name).state_dict()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    torch.testing.assert_close(model.backbone.state_dict(), backbone, rtol=0, atol=0)
    assert coverage.slots == 0  # they came with the FMU
    # Its queries alone can be had, too.
    model = recognizer()
    assert load_decoder(model, path, parts=["slot_prior"]).slots == MAX_SEQ_LEN
    torch.testing.assert_close(model.neck.queries, stage1.neck.queries, rtol=0, atol=0)
    # All or nothing.
    refused(
        path,
        "nothing was loaded",
        recognizer(encoder=None, memory={"site": "feat", "form": "sequence", "width": "d_model"}),
    )


def test_files_of_earlier_runs_bring_their_encoder_too(tmp_path: Path) -> None:
    """They do not say what stage 1 trained."""
    memory = {"site": "feat", "form": "row", "width": "d_model"}
    model = recognizer(memory=memory)
    stage1 = MODELS.build(
        {
            "type": "DPTRPretrainer",
            "encoder": nrtr()["encoder"],
            "decoder": nrtr_decoder(),
            "memory": memory,
            "embed_dims": 32,
        }
    )
    path = save(stage1, tmp_path / "decoder.pth", lambda x: x["meta"]["dptr"].pop("parts"))
    assert load_decoder(model, path).parts == ("encoder", "decoder")
    ours, theirs = model.encoder.state_dict(), stage1.encoder.state_dict()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
