# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of README and docs."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.test_tools.test_study.small_study import documented, run, write_study

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the studies of the test's folder."""
    monkeypatch.setattr(documented, "STUDIES", Path())
    documented.read.cache_clear()
    yield
    documented.read.cache_clear()


def test_pages_say_what_was_measured() -> None:
    """All tables of the repository are those of its results; `make results` makes them so."""
    names = ("benchmarks", "benchmark_tables", "your_own_language")
    pages = ["README.md", *(f"docs/{name}.md" for name in names)]
    command = [sys.executable, "-m", "cogapp", "--check", "--diff", "-P", "-I", "tools/study"]
    done = subprocess.run([*command, *pages], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"PAGES := {' '.join(pages)}\n" in makefile


def test_averages(call: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    call(run)
    documented.averages("words", recipes={"two": "Two", "one": "One"}, variants={"dptr": "DPTR"})
    assert capsys.readouterr().out == (
        "\n| recipe | DPTR |\n|---|---|\n| Two | 50.0 |\n| One | 50.0 |\n\n"
    )
    documented.averages("words")
    assert "| recipe | scratch | dptr |\n|---|---|---|\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="No recipe three; those with results are one, two"):
        documented.averages("words", recipes={"three": "Three"})
    (row,) = documented.means("words", recipes=["one", "two"])
    assert list(row.values()) == ["dptr", "2", "+20.0", "+20.0", "+20.0"]


def test_only_what_is_made_is_shown(
    call: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    variants = {name: {"model.accuracy": number} for name, number in (("a", 0.3), ("b", 0.7))}
    write_study(variants=variants)
    call(run, "--only", "one-*", "two-b-*")
    documented.compare("words", "one", {"b": "second", "a": "first"})
    assert capsys.readouterr().out.splitlines()[3:5] == [
        "| `b`: second | - | 70.0 | 80.0 | 60.0 | +40.0 |",
        "| `a`: first | - | 30.0 | 40.0 | 20.0 | - |",
    ]
    documented.compare("words", "two", {"a": "first", "b": "second"})
    assert [line[:5] for line in capsys.readouterr().out.splitlines()[3:]] == ["| `b`", ""]
    with pytest.raises(ValueError, match=r"words.yaml has no variant c\."):
        documented.compare("words", "one", {"c": "third"})
    assert documented.value("words", "one", "b", "A") == "80.0"
    with pytest.raises(ValueError, match="No variant a; those with results are b"):
        documented.value("words", "two", "a")
    documented.made("words")
    documented.made("words", recipe="two")
    assert capsys.readouterr().out == (
        "3 of 4 runs are made.\n\n1 of 2 runs of `two` are made.\n\n"
    )
