# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The shims act where they are needed, only there, and MMOCR's own entry points then work."""

import importlib.util
import io
import json
import logging
import os
import pickle
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from PIL import Image, ImageDraw

import mmdptr.compat as compat

WORDS = ("cat", "dog", "bird", "fish")

# The one-cycle schedule is here because it puts a function into the checkpoint.
CONFIG = """
_base_ = ['mmocr::textrecog/nrtr/nrtr_modality-transform_6e_st_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)
model = dict(
    encoder=dict(n_layers=1, d_inner=16),
    decoder=dict(n_layers=1, d_inner=16, max_seq_len=5))
_dataset = dict(
    type='RecogTextDataset',
    data_root={root!r},
    ann_file='words.jsonl',
    parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']))
train_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=_base_.train_pipeline, **_dataset))
test_dataloader = dict(
    _delete_=True, batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=_base_.test_pipeline, **_dataset))
val_dataloader = test_dataloader
val_evaluator = dict(dataset_prefixes=['tiny'])
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=8, end=8, by_epoch=False)]
"""

# With a learning rate of zero, the parameters that training saves are those that it began with.
FROZEN = """
_base_ = ['tiny.py']
param_scheduler = []
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.0))
"""

# Runs in one fresh process, which never imports mmdptr by itself: only the config does.
FLOWS = """
import json, pickle, runpy, sys
from pathlib import Path
from mmocr.apis import MMOCRInferencer, TextRecInferencer

checkpoint = 'run/epoch_1.pth'
found = {}
try:
    TextRecInferencer(weights=checkpoint)
except pickle.UnpicklingError:
    found['weights alone, before mmdptr'] = 'refused'
assert 'mmdptr' not in sys.modules
rec = TextRecInferencer(model='tiny.py', weights=checkpoint)
found['TextRecInferencer'] = rec('cat.png')['predictions']
rec = MMOCRInferencer(rec='tiny.py', rec_weights=checkpoint)
found['MMOCRInferencer'] = rec('cat.png', out_dir='out', save_vis=True)['predictions']
rec = TextRecInferencer(weights=checkpoint)
found['weights alone, after mmdptr'] = rec('cat.png')['predictions']

def tool(name, work_dir, *args):
    # mmengine keeps experiments and visualizers by name: here, several share one process
    names = [f'experiment_name={work_dir}', f'visualizer.name={work_dir}']
    sys.argv = [name, *args, '--work-dir', work_dir, '--cfg-options', *names, *options]
    runpy.run_path(str(Path(sys.modules['mmocr'].__file__).parent / '.mim/tools' / name),
                   run_name='__main__')

options = []
tool('test.py', 'test', 'tiny.py', checkpoint, '--show-dir', 'shown')
tool('test.py', 'tta', 'tiny.py', checkpoint, '--tta')
tool('train.py', 'load_from', 'load_from.py')
tool('train.py', 'pretrained', 'pretrained.py')
options = ['train_cfg.max_epochs=2']
tool('train.py', 'run', 'tiny.py', '--resume')
Path('found.json').write_text(json.dumps(found))
"""

# Loads compat.py as a file: with the shims off, `import mmdptr` itself fails on mmcv-lite.
SYMPTOMS = """
import importlib.util, json, logging, os, pickle, sys
import numpy as np
import torch

def load_compat():
    spec = importlib.util.spec_from_file_location('compat', sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def symptoms():
    found = [] if hasattr(np, 'sctypes') else ['np_sctypes']
    try:
        import mmcv.ops
    except ModuleNotFoundError:
        found.append('mmcv_ext')
    try:
        torch.load('run/epoch_1.pth')
    except pickle.UnpicklingError:
        found.append('safe_checkpoints')
    return sorted(found)

report = {'off': [load_compat().apply(), symptoms()]}
del os.environ['MMDPTR_COMPAT']
on = load_compat()
first, after = on.apply(), symptoms()
report['on'] = [first, after]
report['again'] = [on.apply(), load_compat().apply()]
print(json.dumps(report))
"""


def run(*args: str, cwd: Path, **env: str) -> str:
    """Run Python with ``args`` in ``cwd`` and return what it wrote; a failure shows it."""
    # the caller's own switches must not decide these tests
    inherited = {key: value for key, value in os.environ.items() if key != "MMDPTR_COMPAT"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *args],
        cwd=cwd,
        env={**inherited, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{args}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def shims_of_this_environment() -> list[str]:
    """The shims this environment needs, judged by what is installed."""
    needed = {
        "mmcv_ext": installed("mmcv-lite") and not installed("mmcv"),
        "np_sctypes": installed("imgaug") and version("numpy") >= "2",
        "safe_checkpoints": tuple(map(int, version("torch").split(".")[:2])) >= (2, 6),
    }
    return [name for name, is_needed in needed.items() if is_needed]


def load_again() -> ModuleType:
    """A second copy of the module, with nothing applied yet."""
    spec = importlib.util.spec_from_file_location("fresh_compat", compat.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delenv("MMDPTR_COMPAT", raising=False)
    return load_again()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, configs and a checkpoint that MMOCR's tools/train.py saved."""
    root = tmp_path_factory.mktemp("compat")
    lines = []
    for word in WORDS:
        # one image is upright: test-time augmentation rotates only those
        image = Image.new("RGB", (24, 64) if word == "fish" else (80, 32), "white")
        ImageDraw.Draw(image).text((4, 10), word, fill="black")
        image.save(root / f"{word}.png")
        lines.append(json.dumps({"filename": f"{word}.png", "text": word}))
    (root / "words.jsonl").write_text("\n".join(lines))
    (root / "tiny.py").write_text(CONFIG.format(root=str(root)))
    checkpoint = "run/epoch_1.pth"
    (root / "load_from.py").write_text(f"{FROZEN}\nload_from = '{checkpoint}'\n")
    init_cfg = f"dict(type='Pretrained', checkpoint='{checkpoint}')"
    (root / "pretrained.py").write_text(f"{FROZEN}\nmodel = dict(init_cfg={init_cfg})\n")
    spec = importlib.util.find_spec("mmocr")
    assert spec is not None
    assert spec.origin is not None
    train = Path(spec.origin).parent / ".mim" / "tools" / "train.py"
    run(str(train), "tiny.py", "--work-dir", "run", cwd=root)
    return root


@pytest.fixture(scope="module")
def first_epoch(workspace: Path) -> dict[str, Any]:
    compat.apply()
    return torch.load(workspace / "run" / "epoch_1.pth")


@pytest.fixture(scope="module")
def flows(workspace: Path, first_epoch: dict[str, Any]) -> dict[str, Any]:
    """What MMOCR's inferencers said, after its tools ran in the same fresh process."""
    run("-c", FLOWS, cwd=workspace)
    return json.loads((workspace / "found.json").read_text())


def test_environment_is_repaired_only_when_switched_on(workspace: Path) -> None:
    report = json.loads(run("-c", SYMPTOMS, compat.__file__, cwd=workspace, MMDPTR_COMPAT="0"))
    expected = shims_of_this_environment()
    assert report["off"] == [[], sorted(expected)]
    assert report["on"] == [expected, []]
    # the same copy repeats its answer; another copy finds nothing left to do
    assert report["again"] == [expected, []]


def test_import_mmdptr_repairs_and_logs_once(workspace: Path) -> None:
    script = (
        "import logging, sys; logging.basicConfig(level='INFO', stream=sys.stdout)\n"
        "import mmdptr, mmcv.ops, imgaug, torch; torch.load('run/epoch_1.pth')\n"
        "mmdptr.compat.apply()"
    )
    lines = [line for line in run("-c", script, cwd=workspace).splitlines() if "compat:" in line]
    expected = shims_of_this_environment()
    assert len(lines) == len(expected)
    for line, name in zip(lines, expected, strict=True):
        assert line.startswith("INFO:mmdptr:")
        assert f"MMDPTR_COMPAT=-{name} " in line


@pytest.mark.parametrize(
    "entry_point", ["TextRecInferencer", "MMOCRInferencer", "weights alone, after mmdptr"]
)
def test_inferencers_predict(flows: dict[str, Any], entry_point: str) -> None:
    (prediction,) = flows[entry_point]
    text = prediction["rec_texts"] if "rec_texts" in prediction else [prediction["text"]]
    (alone,) = flows["TextRecInferencer"]
    assert text == [alone["text"]]


@pytest.mark.skipif(
    "safe_checkpoints" not in shims_of_this_environment(), reason="torch loads these by itself"
)
def test_weights_alone_need_an_import_of_mmdptr(flows: dict[str, Any]) -> None:
    assert flows["weights alone, before mmdptr"] == "refused"


@pytest.mark.usefixtures("flows")
@pytest.mark.parametrize("work_dir", ["test", "tta"])
def test_mmocr_test_tool_reports_the_metric(workspace: Path, work_dir: str) -> None:
    (log,) = (workspace / work_dir).glob("*/*.json")
    assert "tiny/recog/word_acc_ignore_case_symbol" in json.loads(log.read_text())


@pytest.mark.usefixtures("flows")
def test_visualizers_draw(workspace: Path) -> None:
    drawn = [*(workspace / "shown").rglob("*.png"), *(workspace / "out").rglob("*.jpg")]
    assert len(drawn) == len(WORDS) + 1
    assert all(np.ptp(np.asarray(Image.open(path))) > 0 for path in drawn)


@pytest.mark.usefixtures("flows")
@pytest.mark.parametrize("work_dir", ["load_from", "pretrained"])
def test_training_starts_from_the_checkpoint(
    workspace: Path, first_epoch: dict[str, Any], work_dir: str
) -> None:
    saved = torch.load(workspace / work_dir / "epoch_1.pth")["state_dict"]
    decoder = {k: v for k, v in first_epoch["state_dict"].items() if k.startswith("decoder.")}
    assert decoder
    for key, value in decoder.items():
        torch.testing.assert_close(saved[key], value, rtol=0, atol=0)


@pytest.mark.usefixtures("flows")
def test_resume_continues_the_first_run(workspace: Path, first_epoch: dict[str, Any]) -> None:
    second = torch.load(workspace / "run" / "epoch_2.pth")
    before = first_epoch["message_hub"]["log_scalars"]["train/loss"].data[0]
    after = second["message_hub"]["log_scalars"]["train/loss"].data[0]
    assert len(after) == 2 * len(before) > 0
    np.testing.assert_array_equal(after[: len(before)], before)
    assert second["param_schedulers"][0]["last_step"] == 4


def test_mim_trains(workspace: Path) -> None:
    pytest.importorskip("mim", reason="openmim is not installed (extra `mim`)")
    out = run("-m", "mim", "train", "mmocr", "tiny.py", "--work-dir", "mim", cwd=workspace)
    assert "Training finished successfully" in out
    assert (workspace / "mim" / "epoch_1.pth").is_file()


@pytest.mark.skipif(not installed("mmcv-lite"), reason="full mmcv is installed")
def test_mmcv_op_without_compiled_ops_says_what_to_install() -> None:
    compat.apply()
    from mmcv.ops import nms

    with pytest.raises(RuntimeError, match=r"mmcv op 'nms' was called.*`pip install .*mmcv=="):
        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


def test_stub_is_a_module_that_mmcv_recognises_as_absent_ops(
    fresh: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmcv.utils.ext_loader import check_ops_exist, load_ext

    monkeypatch.setitem(sys.modules, "mmcv._ext", ModuleType("placeholder"))
    fresh._stub_mmcv_ops()
    assert load_ext("_ext", ["any_op_name"]) is sys.modules["mmcv._ext"]
    assert check_ops_exist() is False
    assert not hasattr(sys.modules["mmcv._ext"], "__path__")


@pytest.mark.parametrize("full", [False, True])
def test_only_an_mmcv_without_ops_is_stubbed(
    fresh: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: bool
) -> None:
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('compat must not import mmcv')")
    if full:
        (package / "_ext.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mmcv", "mmcv._ext"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert fresh._lacks_mmcv_ops() is not full


@pytest.mark.parametrize(("torch_version", "refuses"), [("2.5.1+cpu", False), ("2.10.0a0", True)])
def test_checkpoints_are_refused_since_torch_2_6(
    fresh: ModuleType, monkeypatch: pytest.MonkeyPatch, torch_version: str, refuses: bool
) -> None:
    monkeypatch.setattr(torch, "__version__", torch_version)
    monkeypatch.setattr(torch.serialization, "get_safe_globals", list)
    assert fresh._refuses_checkpoints() is refuses


def test_what_is_already_there_stays_untouched(
    fresh: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ops, sctypes = ModuleType("mmcv._ext"), {"float": []}
    monkeypatch.setitem(sys.modules, "mmcv._ext", ops)
    monkeypatch.setattr(np, "sctypes", sctypes, raising=False)
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    allowed = set(torch.serialization.get_safe_globals())
    with caplog.at_level(logging.INFO, "mmdptr"):
        assert fresh.apply() == ()
    assert sys.modules["mmcv._ext"] is ops
    assert np.sctypes is sctypes  # type: ignore[attr-defined]
    assert set(torch.serialization.get_safe_globals()) == allowed
    assert not caplog.records


@pytest.mark.parametrize(
    ("switch", "expected"),
    [("", "abc"), ("0", ""), ("-b", "ac"), ("-a, -c", "b"), ("-a,-b,-c", "")],
)
def test_switches(
    fresh: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    switch: str,
    expected: str,
) -> None:
    acted: list[str] = []
    table = [
        fresh._Shim(name, lambda: True, lambda n=name: acted.append(n), name) for name in "abc"
    ]
    never = fresh._Shim("never", lambda: False, lambda: acted.append("never"), "not needed")
    monkeypatch.setattr(fresh, "_SHIMS", (*table, never))
    monkeypatch.setenv("MMDPTR_COMPAT", switch)
    with caplog.at_level(logging.INFO, "mmdptr"):
        assert fresh.apply() == fresh.apply() == tuple(expected)
    assert acted == list(expected)
    assert len(caplog.records) == len(expected)


@pytest.mark.parametrize("switch", ["off", "mmcv_ext", "-mmcv_ext,-numpy"])
def test_unknown_switch_is_refused(
    fresh: ModuleType, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv("MMDPTR_COMPAT", switch)
    with pytest.raises(ValueError, match=r"expected 0 .* out of -mmcv_ext,-np_sctypes"):
        fresh.apply()


class Foreign:
    """A class that mmengine never stores."""


class Call:
    """Pickles as a call of ``getattr``, as a method does, but with any arguments."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return getattr, self.args


def saved(content: object) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save({"content": content}, buffer)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    ("content", "culprit"),
    [
        (Foreign(), "Foreign"),
        (Call(HistoryBuffer, "__init__"), "__init__"),
        (Call(HistoryBuffer, "_annealing_cos"), "_annealing_cos"),
        (Call(np.ndarray, "tofile"), "tofile"),
        (np.array([Foreign()], dtype=object), "Foreign|ObjectDType"),
    ],
)
def test_loading_stays_weights_only(content: object, culprit: str) -> None:
    compat.apply()
    with pytest.raises(pickle.UnpicklingError, match=culprit):
        torch.load(saved(content), weights_only=True)


def test_allowed_method_is_the_method_itself() -> None:
    compat.apply()
    loaded = torch.load(saved(Call(HistoryBuffer, "mean")), weights_only=True)
    assert loaded["content"] is HistoryBuffer.mean


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_checkpoints_of_either_numpy_load(core: bytes) -> None:
    compat.apply()
    buffer = io.BytesIO()
    content = {"history": HistoryBuffer([1.5, 2.5], [1, 2]), "eta": np.float64(3.5)}
    # the old format is one plain stream, where the module names can be swapped
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    here = np.empty(0).__reduce__()[0].__module__.removesuffix(".multiarray").encode()
    data = buffer.getvalue().replace(here + b".multiarray", core + b".multiarray")
    assert data.count(core + b".multiarray") == 2
    loaded = torch.load(io.BytesIO(data), weights_only=True)
    assert loaded["eta"] == 3.5
    np.testing.assert_array_equal(loaded["history"].data, [[1.5, 2.5], [1, 2]])
    assert loaded["history"].statistics("mean") == pytest.approx(4 / 3)
