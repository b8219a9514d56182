# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest
import torch
from mmocr.models.textrecog.decoders import NRTRDecoder
from mmocr.registry import MODELS

from mmdptr.models import MemoryLayout, find_memory_layout, register_memory_layout
from mmdptr.models.memory import argument_of, registry
from tests.builders import nrtr_decoder

NRTR = MemoryLayout(site="out_enc", form="sequence", width="d_model", any_length=True)
ROW = MemoryLayout(site="feat", form="row", width="in_channels", slots_per_token=2)


class ChildDecoder(NRTRDecoder):
    """Someone's own NRTR decoder."""

    def __init__(self, extra: int, **kwargs: object) -> None:
        super().__init__(**kwargs)


class GrandchildDecoder(ChildDecoder):
    pass


class LonelyDecoder(torch.nn.Module):
    def __init__(self, max_seq_len: int = 40) -> None:
        super().__init__()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_LAYOUTS", dict(registry._LAYOUTS))
    classes = (ChildDecoder, GrandchildDecoder, LonelyDecoder)
    for cls in classes:
        MODELS.register_module(module=cls)
    yield
    for cls in classes:
        MODELS._module_dict.pop(cls.__name__)


def test_nrtr_is_known() -> None:
    assert find_memory_layout(nrtr_decoder()) == NRTR


def test_unknown_decoder_is_refused_with_the_way_out() -> None:
    message = r"No memory layout is known for LonelyDecoder.*NRTRDecoder.*register_memory_layout"
    with pytest.raises(ValueError, match=message):
        find_memory_layout({"type": "LonelyDecoder"})


def test_decoder_that_is_not_registered_in_mmocr_is_named() -> None:
    with pytest.raises(ValueError, match="'NoSuchDecoder' is not registered"):
        find_memory_layout({"type": "NoSuchDecoder"})


def test_subclass_has_the_layout_of_its_nearest_base() -> None:
    assert find_memory_layout({"type": "GrandchildDecoder"}) == NRTR
    register_memory_layout("ChildDecoder", ROW)
    assert find_memory_layout({"type": "GrandchildDecoder"}) == ROW
    assert find_memory_layout(nrtr_decoder()) == NRTR


def test_registering_twice_is_fine_but_not_another_layout() -> None:
    register_memory_layout("LonelyDecoder", ROW)
    register_memory_layout("LonelyDecoder", ROW)
    assert find_memory_layout({"type": "LonelyDecoder"}) == ROW
    with pytest.raises(ValueError, match=r"LonelyDecoder has the layout .*'row'.* cannot become"):
        register_memory_layout("LonelyDecoder", NRTR)
    assert find_memory_layout({"type": "LonelyDecoder"}) == ROW


def test_config_overrides_by_name_and_by_arguments() -> None:
    lonely = {"type": "LonelyDecoder"}
    assert find_memory_layout(lonely, "NRTRDecoder") == NRTR
    row = {"site": "feat", "form": "row", "width": "in_channels", "slots_per_token": 2}
    assert find_memory_layout(nrtr_decoder(), row) == ROW
    with pytest.raises(ValueError, match="No memory layout is known for LonelyDecoder"):
        find_memory_layout(nrtr_decoder(), "LonelyDecoder")


@pytest.mark.parametrize(("field", "value"), [("site", "encoder"), ("form", "grid-ish")])
def test_misspelt_layout_is_refused(field: str, value: str) -> None:
    fields = {"site": "feat", "form": "row", "width": "d_model", field: value}
    with pytest.raises(ValueError, match=f"Unknown memory {field} '{value}'"):
        MemoryLayout(**fields)


def test_width_is_the_configs_or_the_classs_default() -> None:
    assert NRTR.width_of({"type": "NRTRDecoder", "d_model": 96}) == 96
    assert NRTR.width_of({"type": "NRTRDecoder"}) == 512
    # a subclass that hands on **kwargs has the default of its base
    assert NRTR.width_of({"type": "GrandchildDecoder"}) == 512
    assert argument_of({"type": "NRTRDecoder"}, "max_seq_len") == 30


@pytest.mark.parametrize("name", ["in_channels", "extra"])
def test_argument_without_value_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"GrandchildDecoder does not set '{name}'"):
        argument_of({"type": "GrandchildDecoder"}, name)


def test_width_may_be_that_of_a_part_and_the_first_of_several() -> None:
    layout = MemoryLayout("feat", "row", "hybrid_decoder.dim_input")
    fuser = {"type": "RobustScannerFuser", "in_channels": [96, 32]}
    assert layout.width_of({**fuser, "hybrid_decoder": {"dim_input": 96}}) == 96
    # the default of the part's class, and the default part
    part = {"type": "SequenceAttentionDecoder"}
    assert layout.width_of({**fuser, "hybrid_decoder": part}) == 512
    assert layout.width_of(fuser) == 512
    assert MemoryLayout("feat", "row", "in_channels").width_of(fuser) == 96


def test_slots_follow_the_longest_label() -> None:
    assert NRTR.slots_of(nrtr_decoder(max_seq_len=9)) == 9
    assert ROW.slots_of(nrtr_decoder(max_seq_len=9)) == 18
    grid = find_memory_layout({"type": "ABIVisionDecoder"})
    assert grid.slots_of({"type": "ABIVisionDecoder", "max_seq_len": 26}) == 32, "its columns"


def test_encoder_runs_over_memory_that_stands_before_it() -> None:
    assert ROW.reads_encoder
    assert not NRTR.reads_encoder
    assert not MemoryLayout("feat", "row", "d_model", holistic="d_enc").reads_encoder


@pytest.mark.parametrize(("form", "grid"), [("grid", None), ("row", (8, 32))])
def test_grid_and_its_size_go_together(form: str, grid: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match=rf"form '{form}' has grid="):
        MemoryLayout("out_enc", form, "in_channels", grid=grid)


def test_tokens_are_row_by_row_and_know_their_grid() -> None:
    grid = torch.arange(24.0).view(1, 2, 3, 4)
    tokens, shape = ROW.tokens(grid, None)
    assert shape == (3, 4)
    assert tokens.tolist() == [[[float(i), float(i + 12)] for i in range(12)]]
    # an encoder's sequence has the grid of the backbone it came from, if it fits
    sequence = torch.zeros(1, 12, 7)
    assert NRTR.tokens(grid, sequence) == (sequence, (3, 4))
    assert NRTR.tokens(grid, sequence[:, :5])[1] == (1, 5)
    assert NRTR.tokens(None, sequence)[1] == (1, 12)


def test_missing_site_is_named() -> None:
    with pytest.raises(ValueError, match="reads its memory from 'out_enc'"):
        NRTR.tokens(torch.zeros(1, 2, 3, 4), None)


def test_arrange_gives_each_form_under_the_decoders_argument() -> None:
    memory = torch.randn(2, 5, 3)
    assert NRTR.arrange(memory) == {"out_enc": memory}
    row = ROW.arrange(memory)
    assert list(row) == ["feat"]
    assert row["feat"].shape == (2, 3, 1, 5)
    # what one stage arranges is what the other takes apart
    torch.testing.assert_close(ROW.tokens(row["feat"], None)[0], memory, rtol=0, atol=0)


def test_grid_is_the_row_stretched_and_the_same_in_every_row() -> None:
    grid = MemoryLayout("out_enc", "grid", "in_channels", grid=(2, 6))
    memory = torch.tensor([[[1.0, 10.0], [4.0, 40.0], [7.0, 70.0]]])
    arranged = grid.arrange(memory)["out_enc"]
    assert arranged.shape == (1, 2, 2, 6)
    # slot centres are at columns 0.5, 2.5 and 4.5
    row = [1.0, 1.75, 3.25, 4.75, 6.25, 7.0]
    torch.testing.assert_close(arranged[0, 0], torch.tensor([row, row]))
    torch.testing.assert_close(arranged[0, 1], torch.tensor([row, row]) * 10)


@pytest.mark.parametrize("name", ["ParallelSARDecoder", "SequentialSARDecoder"])
def test_first_slot_must_be_as_wide_as_the_holistic_vector(name: str) -> None:
    layout = find_memory_layout({"type": name})
    assert layout.width_of({"type": name, "d_model": 64, "d_enc": 64}) == 64
    uneven = {"type": name, "d_model": 64, "d_enc": 32}
    with pytest.raises(ValueError, match=r"d_model=64 and d_enc=32.*let its encoder make") as error:
        layout.width_of(uneven)
    advice = eval(str(error.value).rpartition("memory=")[2].rstrip("."))
    assert find_memory_layout(uneven, advice).width_of(uneven) == 64


def test_fmu_in_the_encoders_place_gives_what_the_encoder_would() -> None:
    layout = MemoryLayout("feat", "sequence", "d_model", in_place_of_encoder=True)
    assert layout.leaves_out_encoder
    assert not layout.reads_encoder
    feat, memory = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 3)
    tokens, grid = layout.tokens(feat, None)
    assert torch.equal(tokens, feat.flatten(2).transpose(1, 2))
    assert grid == (4, 5)
    assert {*layout.arrange(memory)} == {"out_enc"}
    assert torch.equal(layout.arrange(memory)["out_enc"], memory)
    assert find_memory_layout({"type": "ASTERDecoder"}).in_place_of_encoder


def test_fmu_in_the_encoders_place_does_not_sit_after_it() -> None:
    with pytest.raises(ValueError, match=r"sits at .feat., found site=.out_enc"):
        MemoryLayout("out_enc", "sequence", "d_model", in_place_of_encoder=True)


def test_holistic_decoder_reads_the_first_slot_besides() -> None:
    memory = torch.randn(2, 5, 3)
    arranged = MemoryLayout("feat", "row", "d_model", holistic="d_enc").arrange(memory)
    assert torch.equal(arranged["out_enc"], memory[:, 0])
    assert torch.equal(arranged["feat"].squeeze(2), memory.transpose(1, 2))
