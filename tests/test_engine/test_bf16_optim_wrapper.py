# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch.nn import functional


@pytest.fixture(autouse=True)
def cpu_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Set whether the CPU multiplies in bfloat16 by itself, as it does in the tests else."""

    def set_to(value: bool) -> None:
        monkeypatch.setattr(
            "mmdptr.engine.bf16_optim_wrapper.cpu_multiplies_bfloat16", lambda: value
        )

    set_to(True)
    return set_to


class Model(BaseModel):
    """Remembers the dtype that its layer computes in, and what will differentiate attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        outputs = self.layer(inputs)
        self.dtype = outputs.dtype
        heads = outputs.view(2, 2, 4, 8)
        attended = functional.scaled_dot_product_attention(heads, heads, heads)
        self.of_attention = type(attended.grad_fn).__name__
        return {"loss": outputs.float().square().mean()}


def train(wrapper: str, steps: int = 1, **settings: object) -> tuple[Model, list[float]]:
    torch.manual_seed(0)
    model = Model()
    optimizer = {"type": "SGD", "lr": 0.1}
    optim_wrapper = build_optim_wrapper(
        model, {"type": wrapper, "optimizer": optimizer, **settings}
    )
    inputs = torch.randn(16, 8)
    losses = [
        model.train_step({"inputs": inputs}, optim_wrapper)["loss"].item() for _ in range(steps)
    ]
    return model, losses


def test_forward_is_bfloat16_and_the_weights_are_not() -> None:
    model, _ = train("BF16OptimWrapper")
    assert model.dtype == torch.bfloat16
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert train("OptimWrapper")[0].dtype == torch.float32


def test_attention_is_not_the_kernel_that_is_slow_backwards() -> None:
    assert "Flash" in train("OptimWrapper")[0].of_attention
    assert "Flash" not in train("BF16OptimWrapper")[0].of_attention


def test_training_is_that_of_float32_but_for_rounding() -> None:
    half, single = (train(x, steps=20)[1] for x in ("BF16OptimWrapper", "OptimWrapper"))
    assert half != single
    torch.testing.assert_close(half, single, rtol=0.02, atol=1e-3)


def test_a_cpu_that_would_emulate_bfloat16_stays_in_float32(
    cpu_with: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    logger = MMLogger.get_instance("bfloat16")  # the current one
    logger.addHandler(caplog.handler)
    train("BF16OptimWrapper")
    assert "neither AVX512-BF16 nor AMX" not in caplog.text
    cpu_with(False)
    model, losses = train("BF16OptimWrapper", steps=20)
    assert caplog.text.count("computes in float32: this CPU has neither AVX512-BF16 nor AMX") == 1
    assert model.dtype == torch.float32
    assert "Flash" in model.of_attention
    assert losses == train("OptimWrapper", steps=20)[1]


def test_gradients_accumulate_as_usual() -> None:
    before = train("BF16OptimWrapper", steps=0)[0].layer.weight
    one, _ = train("BF16OptimWrapper", steps=1, accumulative_counts=2)
    two, _ = train("BF16OptimWrapper", steps=2, accumulative_counts=2)
    assert torch.equal(one.layer.weight, before)
    assert not torch.equal(two.layer.weight, before)
