# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Shims that let MMOCR 1.0.1 run without compiled ops and on a new torch and numpy.

``import mmdptr`` calls :func:`apply` before anything else, hence so does every config with
``custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)``. A script that imports
``mmocr.models`` or ``mmocr.datasets``, or builds an inferencer from ``weights`` alone, must import
``mmdptr`` first; alphabetical order does that. A shim acts only where it is needed:

==================== ============================================================================
``mmcv_ext``         mmcv-lite has no ``mmcv._ext``, which ``mmdet`` and ``mmocr`` need to be
                     imported. An op that is really called raises.
``np_sctypes``       numpy 2 has no ``np.sctypes``, which imgaug (MMOCR's augmentations) reads.
``safe_checkpoints`` torch 2.6 and newer refuse checkpoints of mmengine. The few classes inside
                     are allow-listed; loading stays ``weights_only``.
==================== ============================================================================

The environment variable ``MMDPTR_COMPAT`` switches shims off: ``0`` all of them,
``-mmcv_ext,-np_sctypes`` those two. Each shim that acts says so in one INFO line of the python
logger ``mmdptr``.
"""

import logging
import os
import pickle
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

_logger = logging.getLogger("mmdptr")


class _Shim(NamedTuple):
    """One row of the table below: acts only if needed, and says why in the log."""

    name: str
    needed: Callable[[], bool]
    act: Callable[[], None]
    why: str


def _lacks_mmcv_ops() -> bool:
    """Whether mmcv is installed without compiled ops; mmcv itself is not imported."""
    mmcv = find_spec("mmcv")
    if mmcv is None or "mmcv._ext" in sys.modules:
        return False
    return PathFinder.find_spec("mmcv._ext", mmcv.submodule_search_locations) is None


def _stub_op(name: str) -> Callable[..., NoReturn]:
    """Stand in for the compiled op ``name``, as module ``__getattr__`` of the stub."""
    if name.startswith("__"):  # import machinery and `inspect` probe for these
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def missing_op(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            f"The mmcv op '{name}' was called, but the installed mmcv has no compiled ops "
            "(mmcv-lite). Text recognition needs none; this call needs full mmcv: "
            "`pip uninstall mmcv-lite`, then `pip install --no-build-isolation mmcv==2.0.1`, "
            "which compiles (on a recent torch, with `-std=c++14` in mmcv's setup.py replaced "
            "by the C++ standard that torch asks for)."
        )

    return missing_op


def _stub_mmcv_ops() -> None:
    """Register a stub ``mmcv._ext`` that has every op by name."""
    stub = ModuleType("mmcv._ext")
    # A spec without a loader: mmcv's `check_ops_exist` still answers no, and does not raise.
    stub.__spec__ = ModuleSpec("mmcv._ext", loader=None)
    stub.__getattr__ = _stub_op  # type: ignore[method-assign]
    sys.modules["mmcv._ext"] = stub


def _lacks_sctypes() -> bool:
    """Whether imgaug is installed beside a numpy that has no ``np.sctypes``."""
    import numpy as np

    return find_spec("imgaug") is not None and not hasattr(np, "sctypes")


def _add_sctypes() -> None:
    """Bring back the three entries of ``np.sctypes`` that imgaug reads."""
    import numpy as np

    np.sctypes = {  # type: ignore[attr-defined]
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64, np.longdouble],
    }


def _refuses_checkpoints() -> bool:
    """Whether ``torch.load`` is ``weights_only`` by default and mmengine's classes are foreign."""
    import torch
    from mmengine.logging import HistoryBuffer

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return version >= (2, 6) and HistoryBuffer not in torch.serialization.get_safe_globals()


def _allow_checkpoints() -> None:
    """Allow-list what mmengine 0.10 pickles into a checkpoint beside tensors and plain values."""
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    # Pickle writes a method as `getattr(class, name)`. These are all that mmengine stores;
    # the real `getattr` would hand a checkpoint every attribute of every allowed class.
    owners: dict[str, type] = dict.fromkeys(("min", "max", "mean", "current"), HistoryBuffer)
    owners |= dict.fromkeys(("_annealing_cos", "_annealing_linear"), OneCycleParamScheduler)

    def getattr_method(owner: Any, name: str) -> Any:
        if name not in owners or owner is not owners[name]:
            raise pickle.UnpicklingError(
                f"The checkpoint asks for getattr({owner!r}, {name!r}), expected one of the "
                f"methods {sorted(owners)} that mmengine stores. If you trust the file, load it "
                "with `weights_only=False` and save it again without this entry."
            )
        return getattr(owner, name)

    rebuild_array: Any = np.empty(0).__reduce__()[0]
    rebuild_scalar: Any = np.float64().__reduce__()[0]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,  # message_hub: the history of every logged value
            (getattr_method, "builtins.getattr"),  # the statistics methods of a HistoryBuffer
            OneCycleParamScheduler,  # param_schedulers: owns the annealing function in its state
            np.ndarray,  # values and counts of a HistoryBuffer
            np.dtype,  # of those arrays, and of the scalar `eta` in message_hub
            type(np.dtype(np.float64)),  # values: numpy gives every dtype a class of its own
            type(np.dtype(np.int64)),  # counts
            # what rebuilds an array and a scalar, as numpy 1 names it and as numpy 2 does:
            # a checkpoint may come from either
            (rebuild_array, "numpy.core.multiarray._reconstruct"),
            (rebuild_array, "numpy._core.multiarray._reconstruct"),
            (rebuild_scalar, "numpy.core.multiarray.scalar"),
            (rebuild_scalar, "numpy._core.multiarray.scalar"),
        ]
    )


_SHIMS = (
    _Shim("mmcv_ext", _lacks_mmcv_ops, _stub_mmcv_ops, "stubbed the ops that mmcv-lite lacks"),
    _Shim("np_sctypes", _lacks_sctypes, _add_sctypes, "added np.sctypes for imgaug"),
    _Shim(
        "safe_checkpoints",
        _refuses_checkpoints,
        _allow_checkpoints,
        "allow-listed the classes in mmengine's checkpoints",
    ),
)


def _switched_on() -> list[_Shim]:
    """Read ``MMDPTR_COMPAT``: the shims that it leaves on, in the order of the table."""
    value = os.environ.get("MMDPTR_COMPAT", "")
    if value == "0":
        return []
    off = {entry.strip() for entry in value.split(",")} - {""}
    known = {f"-{shim.name}" for shim in _SHIMS}
    if not off <= known:
        raise ValueError(
            f"MMDPTR_COMPAT={value!r} has the entries {sorted(off - known)}, expected 0 (no shim) "
            f"or the shims to switch off, out of {','.join(sorted(known))}."
        )
    return [shim for shim in _SHIMS if f"-{shim.name}" not in off]


@cache
def apply() -> tuple[str, ...]:
    """Run every shim that is switched on and needed, once per process.

    Returns:
        tuple[str, ...]: The names of the shims that acted, the same on every call.
    """
    acted = []
    for name, needed, act, why in _switched_on():
        if needed():
            act()
            acted.append(name)
            _logger.info("compat: %s (MMDPTR_COMPAT=-%s switches this off)", why, name)
    return tuple(acted)
