# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_tools.test_study.small_study import (
    METRIC,
    RECIPE,
    TRAINER,
    run,
    write_study,
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Recipes, a study and the trainer in a folder of their own."""
    (tmp_path / "tools").mkdir()
    for name in ("train.py", "test.py"):
        code = textwrap.dedent(TRAINER).replace("METRIC", METRIC)
        (tmp_path / "tools" / name).write_text(code)
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    write_study()
    monkeypatch.setattr(run, "TOOLS", tmp_path / "tools")
    handlers = {x: signal.signal(x, signal.SIG_DFL) for x in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run one of the two tools in this process; return what it printed."""

    def run_main(tool: Any, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [tool.__name__, "words.yaml", *arguments])
        tool.main()
        return capsys.readouterr().out

    return run_main
