# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import copy
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from mmocr.models.textrecog.recognizers import EncoderDecoderRecognizerTTAModel
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.engine import DPTRExportHook, load_decoder
from mmdptr.engine.image_survey import survey_images
from mmdptr.models import CLIP4STR, CLIPTextBranch
from tests.builders import dictionary, lone_runner, sample
from tests.second_device import second_device

TEXTS = ["hello", "a", "zz9"]
SWITCHES = ("cross_decoding", "visual_refinement", "cross_refinement")


def parseq(**options: Any) -> dict[str, Any]:
    return {
        "type": "PARSeqDecoder",
        "d_model": 256,
        "n_head": 4,
        "d_inner": 256,
        "dropout": 0.0,
        "max_seq_len": 10,
        "dictionary": dictionary(),
        "module_loss": {"type": "PARSeqLoss"},
        "postprocessor": {"type": "AttentionPostprocessor"},
        **options,
    }


def build(**options: Any) -> CLIP4STR:
    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": "CLIP4STR",
            "backbone": {
                "type": "CLIPVisionBackbone",
                "model": "mmdptr-tiny",
                "class_token": True,
            },
            "text_encoder": {"type": "CLIPTextBranch", "model": "mmdptr-tiny", "frozen_stages": 1},
            "decoder": parseq(),
            "cross_decoder": parseq(),
            "data_preprocessor": {"type": "TextRecogDataPreprocessor"},
            **options,
        }
    )
    for decoder in (model.decoder, model.cross_decoder):
        for name, parameter in decoder.named_parameters():
            if parameter.dim() == 2 and "places" not in name:
                parameter.data *= 6  # so that different memory is read differently
    return model


def images() -> Tensor:
    return torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def samples() -> list[Any]:
    return [sample(text) for text in TEXTS]


class Noting:
    """Stands in for a text encoder and notes what it is given."""

    def __init__(self, encoder: CLIPTextBranch) -> None:
        self.encoder = encoder
        self.given: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.given.append(list(texts))
        return self.encoder(texts)


def test_the_visual_branch_alone_is_a_parseq() -> None:
    model = build(cross_decoding=False, cross_refinement=False).eval()
    with torch.no_grad():
        tokens = model.extract_feat(images())
        found = model._forward(images())
        torch.testing.assert_close(found, model.decoder.forward_test(None, tokens))
        model.visual_refinement = False
        model.decoder.num_refinements = 0
        torch.testing.assert_close(model._forward(images()), model.decoder(None, tokens))


def with_fmu(**options: Any) -> CLIP4STR:
    backbone = {"type": "CLIPVisionBackbone", "model": "mmdptr-tiny"}
    return build(backbone=backbone, neck={"type": "FMU", "dropout": 0.0, **options})


def test_the_visual_branch_with_an_fmu_is_a_parseq_with_one() -> None:
    model = with_fmu().eval()
    model.cross_decoding = model.cross_refinement = False
    options = {"type": "DPTRRecognizer", "data_preprocessor": {"type": "TextRecogDataPreprocessor"}}
    backbone = {"type": "CLIPVisionBackbone", "model": "mmdptr-tiny"}
    parts = {"backbone": backbone, "neck": {"type": "FMU", "dropout": 0.0}, "decoder": parseq()}
    other = MODELS.build({**options, **parts}).eval()
    weights = model.state_dict()
    other.load_state_dict({key: weights[key] for key in other.state_dict()})
    with torch.no_grad():
        assert model.extract_feat(images()).shape == (3, 10, 256)
        torch.testing.assert_close(model._forward(images()), other._forward(images(), samples()))
        grids = model.merge_attention(images())
        torch.testing.assert_close(grids, other.merge_attention(images(), samples()))
    with pytest.raises(ValueError, match="has no FMU"):
        build().merge_attention(images())


def test_the_fmu_learns_from_the_visual_branch_alone() -> None:
    model = with_fmu()
    losses = model.loss(images(), samples())
    losses["cross.loss_ce"].backward(retain_graph=True)
    assert all(p.grad is None for p in [*model.neck.parameters(), *model.backbone.parameters()])
    losses["visual.loss_ce"].backward()
    assert model.neck.queries.grad.abs().max() > 0


def test_reading_is_predict_and_refine_twice() -> None:
    model = build().eval()
    with torch.no_grad():
        image = model.extract_feat(images())
        visual = model.decoder.decode(image)
        text = model.text_encoder(model.texts(visual))
        cross = model.cross_decoder.decode(torch.cat([image, text], dim=1))
        refined = model.decoder.refine(image, visual)
        text = model.text_encoder(model.texts(refined))
        expected = model.cross_decoder.refine(torch.cat([image, text], dim=1), cross)
        torch.testing.assert_close(model.read(image), expected)


def test_each_step_of_reading_can_be_left_out() -> None:
    model = build().eval()
    found = []
    with torch.no_grad():
        image = model.extract_feat(images())
        for switches in product([False, True], repeat=3):
            for name, value in zip(SWITCHES, switches, strict=True):
                setattr(model, name, value)
            found.append(model._forward(images()))
    # Without cross-modal refinement nothing is made of what the visual branch refines.
    assert torch.equal(found[4], found[6])
    different = [found[i] for i in (0, 1, 2, 3, 4, 5, 7)]
    for i, one in enumerate(different):
        assert not any(torch.allclose(one, two) for two in different[i + 1 :])
    assert image.shape == (3, 50, 256)


def test_text_that_is_masked_is_nothing_to_the_cross_modal_branch() -> None:
    decoder = build().cross_decoder.eval()
    image, text, other = torch.randn(3, 2, 16, 256).unbind()
    mask = torch.arange(32).expand(2, -1) < 16
    with torch.no_grad():
        one, two = (decoder.decode(torch.cat([image, x], dim=1), mask) for x in (text, other))
        torch.testing.assert_close(one, two)
        torch.testing.assert_close(one, decoder.decode(image))
        one, two = (decoder.decode(torch.cat([image, x], dim=1)) for x in (text, other))
        assert not torch.allclose(one[:, 0], two[:, 0])


def literal_loss(model: CLIP4STR) -> dict[str, Tensor]:
    """One order after the other, as the public code does it; the text tower runs for each."""
    torch.manual_seed(5)
    image = model.extract_feat(images())
    given = model.decoder.module_loss.get_targets(samples())
    content, lengths, turns = model.decoder.draw(given)
    visual, cross = [], []
    for order in turns:
        visual.append(model.decoder.predict_in_orders(image, content, lengths, order[None]))
        text = model.text_encoder(model.texts(visual[-1][0].detach()))
        memory = torch.cat([image.detach(), text], dim=1)
        cross.append(model.cross_decoder.predict_in_orders(memory, content, lengths, order[None]))
    return {
        "visual.loss_ce": model.decoder.module_loss(torch.cat(visual), given)["loss_ce"],
        "cross.loss_ce": model.decoder.module_loss(torch.cat(cross), given)["loss_ce"],
    }


def test_the_text_tower_runs_once_and_the_loss_is_the_same() -> None:
    model = build()
    expected = literal_loss(model)
    noting = Noting(model.text_encoder)
    del model.text_encoder
    object.__setattr__(model, "text_encoder", noting)
    torch.manual_seed(5)
    found = model.loss(images(), samples())
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    (given,) = noting.given
    assert len(set(given)) == len(given), "no text twice"


def test_gradients_reach_what_the_method_trains() -> None:
    model = build()
    losses = model.loss(images(), samples())

    def reached(loss: Tensor) -> set[str]:
        model.zero_grad()
        loss.backward(retain_graph=True)
        return {
            name
            for name, p in model.named_parameters()
            if p.grad is not None and p.grad.abs().max() > 0
        }

    def named(prefix: str) -> set[str]:
        # What a key's bias adds is the same for all keys; content is normalized, not the last.
        return {name for name, _ in model.named_parameters() if name.startswith(prefix)}

    by_visual, by_cross = reached(losses["visual.loss_ce"]), reached(losses["cross.loss_ce"])
    assert by_visual <= named("backbone.") | named("decoder.")
    assert named("backbone.") - by_visual == set()
    frozen = named("text_encoder.tower.token_embedding") | named(
        "text_encoder.tower.positional_embedding"
    )
    frozen |= named("text_encoder.tower.transformer.resblocks.0.")
    assert by_cross <= named("text_encoder.") | named("cross_decoder.")
    assert named("text_encoder.") - by_cross == frozen
    for by, prefix in ((by_visual, "decoder."), (by_cross, "cross_decoder.")):
        assert named(prefix) == by & named(prefix)


def test_it_reads_what_it_has_learnt_and_keeps_no_state() -> None:
    model = build().train()
    optimizer = torch.optim.Adam(
        [p for name, p in model.named_parameters() if "decoder" in name], 1e-3
    )
    with torch.no_grad():
        tokens = model.extract_feat(images())
    model.extract_feat = lambda inputs: tokens[: len(inputs)]  # type: ignore[method-assign]
    for _ in range(60):
        optimizer.zero_grad()
        sum(model.loss(images(), samples()).values()).backward()
        optimizer.step()
    model.eval()
    for number in (3, 1, 3):
        read = model.predict(images()[:number], samples()[:number])
        assert [x.pred_text.item for x in read] == TEXTS[:number]


def test_mmocrs_test_time_augmentation_takes_the_best_of_several_views() -> None:
    model = build().eval()
    views = torch.randn(2, 2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    apart = [model.predict(view, samples()[:2]) for view in views]

    def score(read: Any) -> float:
        return sum(read.pred_text.score) / max(1, len(read.pred_text.score))

    tta = EncoderDecoderRecognizerTTAModel(module=model).eval()
    given = [sample(text, valid_ratio=1.0, img_shape=(224, 224)) for text in TEXTS[:2]]
    data = {"inputs": [list(x) for x in views], "data_samples": [given, copy.deepcopy(given)]}
    merged = tta.test_step(data)
    for number, read in enumerate(merged):
        best = max((view[number] for view in apart), key=score)
        assert read.pred_text.item == best.pred_text.item
        assert score(read) == pytest.approx(score(best))


def test_texts_are_read_without_special_tokens() -> None:
    model = build()
    tokens = model.decoder.dictionary
    indices = [tokens.char2idx("a"), tokens.padding_idx, tokens.char2idx("b")]
    logits = torch.eye(tokens.num_classes)[
        torch.tensor([[*indices, tokens.end_idx, 3], [*indices, tokens.unknown_idx, 3]])
    ]
    assert model.texts(logits) == ["ab", "ab3"]


def test_both_decoders_begin_with_what_one_has_learnt(tmp_path: Path) -> None:
    torch.manual_seed(9)
    pretrainer = MODELS.build({"type": "DPTRPretrainer", "decoder": parseq(), "embed_dims": 256})
    DPTRExportHook().after_train(lone_runner(pretrainer, tmp_path))
    model = build()
    load_decoder(model, tmp_path / "decoder.pth", ["decoder"], twins=["cross_decoder"])
    for decoder in (model.decoder, model.cross_decoder):
        for name, parameter in pretrainer.decoder.state_dict().items():
            assert torch.equal(decoder.state_dict()[name], parameter), name
    model = with_fmu()
    coverage = load_decoder(model, tmp_path / "decoder.pth", twins=["cross_decoder"])
    assert coverage.slots == model.neck.num_queries == 10
    other = build(cross_decoder=parseq(n_layers=2))
    before = other.decoder.classifier.weight.clone()
    with pytest.raises(ValueError, match=r"lacks cross_decoder\.layers\.1"):
        load_decoder(other, tmp_path / "decoder.pth", ["decoder"], twins=["cross_decoder"])
    assert torch.equal(other.decoder.classifier.weight, before)


def test_typeset_text_teaches_the_fmu_and_both_decoders(tmp_path: Path) -> None:
    model = with_fmu(num_layers=1).train()
    label = sample("hello", img_shape=(224, 224), valid_ratio=1.0)
    crop = {"inputs": images()[0], "data_samples": label}
    shape = survey_images(model, [crop])["feature_shape"]
    assert shape == [256, 7, 7]
    assert model.training
    neck = {"type": "FMU", "dropout": 0.0, "num_layers": 1}
    parts = {"decoder": parseq(), "neck": neck, "feature_shape": shape, "embed_dims": 24}
    pretrainer = MODELS.build({"type": "TypesetPretrainer", **parts}).eval()
    DPTRExportHook().after_train(lone_runner(pretrainer, tmp_path))
    load_decoder(model, tmp_path / "decoder.pth", twins=["cross_decoder"])
    model.eval().cross_decoding = model.cross_refinement = False
    with torch.no_grad():
        # The image's tokens in the place of the text: both read the same.
        pretrainer.extract_feat = lambda inputs: model.backbone(inputs)  # type: ignore[method-assign]
        found = pretrainer._forward(images(), samples())
        torch.testing.assert_close(found, model._forward(images()))
    for name, parameter in pretrainer.decoder.state_dict().items():
        assert torch.equal(model.cross_decoder.state_dict()[name], parameter), name


def test_a_second_device_computes_what_the_cpu_does() -> None:
    def compute(model: CLIP4STR, inputs: Tensor) -> tuple[list[float], list[str]]:
        torch.manual_seed(1)  # orders are drawn
        losses = model.train().loss(inputs, samples())
        sum(losses.values()).backward()
        with torch.no_grad():
            read = model.eval().predict(inputs, samples())
        return [x.item() for x in losses.values()], [x.pred_text.item for x in read]

    known = compute(build(), images())
    with second_device() as device:
        found = compute(build().to(device), images().to(device))
    assert found[0] == pytest.approx(known[0], rel=1e-4)
    assert found[1] == known[1]
