# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIPs of a few thousand parameters, of any build that open_clip knows."""

import json
import socket
from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch

from mmdptr.clip import LoadedCLIP, load_clip

MakeCLIP = Callable[..., LoadedCLIP]


@pytest.fixture(scope="session")
def add_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Make a model config known to open_clip; return its name."""
    folder = tmp_path_factory.mktemp("model_configs")

    def add(
        text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        # The joint width differs from both towers', so that no projection can be left out.
        config = {
            "embed_dim": 24,
            "vision_cfg": {
                "image_size": 32,
                "patch_size": 8,
                "width": 48,
                "head_width": 16,
                "layers": 2,
                **(vision or {}),
            },
            "text_cfg": {"width": 32, "heads": 2, "layers": 2, **(text or {})},
            **changes,
        }
        name = f"mmdptr-test-{len(list(folder.iterdir()))}"
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        return name

    return add


@pytest.fixture(scope="session")
def make_clip(add_config: Callable[..., str]) -> MakeCLIP:
    """Build a CLIP whose every parameter matters: biases and norms are not at their defaults."""

    def make(precision: str = "fp32", **config: Any) -> LoadedCLIP:
        clip = load_clip(add_config(**config), "random", precision=precision)
        generator = torch.Generator().manual_seed(1)
        for parameter in clip.model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        return clip

    return make


@pytest.fixture(scope="session")
def clip(make_clip: MakeCLIP) -> LoadedCLIP:
    return make_clip()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
