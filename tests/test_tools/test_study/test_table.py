# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of results."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_tools.test_study.small_study import (
    METRIC,
    result,
    run,
    table,
    write_stage_1,
    write_study,
)


def read_tables(printed: str) -> list[list[list[str]]]:
    """The cells of each Markdown table, the row of dashes aside."""
    tables: list[list[list[str]]] = [[]]
    for line in printed.splitlines():
        if not line.startswith("|"):
            tables.append([])
        elif not line.startswith("|:"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in tables if table]


def test_tables(call: Callable[..., str]) -> None:
    assert call(table).splitlines() == ["0 of 4 runs are done."]
    write_stage_1(Path("stage_1/abc"))
    call(run)
    Path("results/words/two-scratch-seed0.json").unlink()
    printed = call(table)
    assert printed.endswith("3 of 4 runs are done.\n")
    overview, accuracy, stage_1 = read_tables(printed)
    assert overview == [
        ["recipe", "scratch", "dptr"],
        ["one", "30.0", "50.0"],
        ["two", "-", "50.0"],
    ]
    assert accuracy == [
        ["recipe", "variant", "average", "A", "B", "- scratch"],
        ["one", "scratch", "30.0", "40.0", "20.0", "-"],
        ["one", "dptr", "50.0", "60.0", "40.0", "+20.0"],
        ["two", "dptr", "50.0", "60.0", "40.0", "-"],
    ]
    assert f"{os.cpu_count()} cores" in printed
    assert stage_1[1:3] == [["one", x, "90.0", "10.00", "25"] for x in ("scratch", "dptr")]


def test_columns_stand_as_in_the_study(call: Callable[..., str]) -> None:
    call(run)
    Path("results/words/one-scratch-seed0.json").unlink()
    overview = read_tables(call(table))[0]
    assert overview == [
        ["recipe", "scratch", "dptr"],
        ["one", "-", "50.0"],
        ["two", "30.0", "50.0"],
    ]


@pytest.mark.parametrize(
    ("pretrainer", "mark"),
    [
        ({"pretrainer": "TypesetPretrainer"}, " *"),
        ({"pretrainer": "DPTRPretrainer"}, ""),
        ({}, " *"),
    ],
)
def test_what_was_pre_trained_otherwise_is_marked(
    call: Callable[..., str], pretrainer: dict[str, str], mark: str
) -> None:
    call(run)
    versions = {"one-dptr-seed0": "0.1.0", "two-dptr-seed0": "0.10.0", "one-scratch-seed0": "0.1.0"}
    for name, version in versions.items():
        found = {**result(name), "versions": {"mmdptr": version}}
        if "dptr" in name:  # nothing else is pre-trained, so that its version does not matter
            times = {"seconds": 1, "seconds_per_1000_labels": 1}
            found["stage_1"] = {**pretrainer, "word_acc": 0.9, **times}
        Path(f"results/words/{name}.json").write_text(json.dumps(found))
    overview, accuracy, means, stage_1 = read_tables(call(table))
    assert overview[1:] == [["one", "30.0", f"50.0{mark}"], ["two", "30.0", "50.0"]]
    assert [row[2] for row in accuracy[1:]] == ["30.0", f"50.0{mark}", "30.0", "50.0"]
    assert means[1][2] == f"+20.0{mark}"
    assert [row[2] for row in stage_1[1:]] == [f"90.0{mark}", "90.0"]


def test_what_was_pre_trained_otherwise_is_not_compared(call: Callable[..., str]) -> None:
    write_study(variants={"dptr": {}, "now": {"model.accuracy": 0.4}, "then": {}})
    call(run, "--only", "one-*")
    for variant, version in {"dptr": "0.2.0", "now": "0.2.0", "then": "0.1.0"}.items():
        name = f"one-{variant}-seed0"
        times = {"seconds": 1, "seconds_per_1000_labels": 1}
        stage_1 = {"pretrainer": "TypesetPretrainer", "word_acc": 0.9, **times}
        found = {**result(name), "versions": {"mmdptr": version}, "stage_1": stage_1}
        Path(f"results/words/{name}.json").write_text(json.dumps(found))
    (accuracy,) = (rows for rows in read_tables(call(table)) if rows[0][-1] == "- dptr")
    assert [row[-1] for row in accuracy[1:]] == ["-", "-10.0", "-"]


def test_words_that_training_has_seen_are_told_apart(call: Callable[..., str]) -> None:
    call(run, "--only", "one-dptr-*")
    scalars = next(Path("work_dirs/study/words/one-dptr-seed0").glob("*/vis_data/scalars.json"))
    found = {"A": (0.9, 1, 0.2, 10), "B": (0.5, 3, 0.6, 30)}
    with scalars.open("a") as file:
        for name, (seen, num_seen, unseen, num_unseen) in found.items():
            values = {"num_seen": num_seen, "num_unseen": num_unseen}
            entry = {f"{name}/recog/{key}": value for key, value in values.items()}
            entry |= {f"{name}/{METRIC}_seen": seen, f"{name}/{METRIC}_unseen": unseen, "step": 0}
            print(json.dumps(entry), file=file)
    Path("results/words/one-dptr-seed0.json").unlink()
    call(run, "--only", "one-dptr-*")
    assert result("one-dptr-seed0")["seen_words"] == pytest.approx({"seen": 0.6, "unseen": 0.5})
    assert read_tables(call(table))[0] == [
        ["recipe", "variant", "average", "A", "B", "seen words", "unseen words", "- scratch"],
        ["one", "dptr", "50.0", "60.0", "40.0", "60.0", "50.0", "-"],
    ]


def test_several_seeds_give_mean_and_spread(call: Callable[..., str]) -> None:
    write_study(seeds=[0, 1])
    call(run, "--only", "one-*")
    for name, average in (("scratch", 0.1), ("dptr", 0.6)):
        file = Path(f"results/words/one-{name}-seed1.json")
        found = {**result(f"one-{name}-seed1"), "average": average}
        file.write_text(json.dumps(found))
    _, scratch, dptr = read_tables(call(table))[0]
    assert scratch[2] == "20.0 ± 14.1"
    assert dptr[2] == "55.0 ± 7.1"
    assert dptr[-1] == "+35.0 ± 21.2"


def test_variants_of_several_studies_stand_together(call: Callable[..., str]) -> None:
    call(run)
    Path("words.yaml").rename("first.yaml")
    Path("results/words").rename("results/first")
    write_study(variants={"slots": {"model.accuracy": 0.4}}, recipes={"one": "one.py"})
    call(run)
    Path("words.yaml").rename("second.yaml")
    Path("results/words").rename("results/second")
    Path("first.yaml").rename("words.yaml")
    Path("results/first").rename("results/words")
    printed = call(table, "second.yaml")
    assert printed.endswith("5 of 5 runs are done.\n")
    overview, accuracy = read_tables(printed)[:2]
    assert overview[0] == ["recipe", "scratch", "dptr", "slots"]
    assert [[row[0], row[1], row[-1]] for row in accuracy[1:]] == [
        ["one", "scratch", "-"],
        ["one", "dptr", "+20.0"],
        ["one", "slots", "+10.0"],
        ["two", "scratch", "-"],
        ["two", "dptr", "+20.0"],
    ]
    with pytest.raises(SystemExit, match="Two of the studies have one-dptr, one-scratch"):
        call(table, "words.yaml")
    with pytest.raises(SystemExit, match="1 folders for 2 studies"):
        call(table, "second.yaml", "--results", "results/words")


def test_means_are_over_the_recipes_that_have_both(call: Callable[..., str]) -> None:
    write_study(seeds=[0, 1])
    call(run)
    averages = {"one-scratch": (0.1, 0.2), "one-dptr": (0.5, 0.8), "two-scratch": (0.3, 0.4)}
    for name, values in averages.items():
        for seed, average in enumerate(values):
            file = Path(f"results/words/{name}-seed{seed}.json")
            file.write_text(json.dumps({**result(f"{name}-seed{seed}"), "average": average}))
    file = Path("results/words/two-dptr-seed1.json")
    file.write_text(json.dumps({**result("two-dptr-seed1"), "average": 0.3}))
    Path("results/words/two-dptr-seed0.json").unlink()
    head = ["variant", "recipes", "- scratch", "lowest", "highest"]
    # One: 40 and 60 points more; two: 10 less of one seed. Both count once.
    assert read_tables(call(table))[2] == [head, ["dptr", "2", "+20.0", "-10.0", "+50.0"]]
    printed = call(table, "--recipes", "one")
    assert printed.endswith("4 of 4 runs are done.\n")
    assert "Mean over" not in printed
    assert {row[0] for row in read_tables(printed)[0][1:]} == {"one"}
    with pytest.raises(SystemExit, match=r"No recipe three\. The studies have one, two\."):
        call(table, "--recipes", "one", "three")
