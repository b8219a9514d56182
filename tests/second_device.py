# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A second device on a machine that has none, which refuses what a GPU would refuse.

Its tensors say that they are elsewhere, and hold their numbers in the CPU's memory. An operation on
tensors of both devices raises, and so does ``numpy()``: what passes here moves its data as it must.
Numbers, branches and gradients are those of the CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

ops = torch.ops.aten
# "meta" needs no driver, and autograd runs its backward pass as the CPU's.
DEVICE = torch.device("meta")
MOVES = {ops._to_copy.default, ops.copy_.default}
# A GPU takes indices from the CPU, too.
INDEXES = {
    ops.index.Tensor,
    ops.index_put.default,
    ops.index_put_.default,
    ops._index_put_impl_.default,
}


# What the program cannot go on without, and a GPU has first to come to.
ANSWERS = {ops._local_scalar_dense.default, ops.nonzero.default, ops.equal.default}
BY_MASK = (torch.bool, torch.uint8)


class SecondDeviceTensor(Tensor):
    """A tensor elsewhere, with its numbers in ``held``."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "SecondDeviceTensor":
        with torch.inference_mode(False):  # whose views PyTorch tracks otherwise
            tensor = Tensor._make_wrapper_subclass(
                cls,
                held.size(),
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=DEVICE,
            )
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the numbers; PyTorch's own is for no subclass."""
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"elsewhere: {self.held!r}"


def refuse_two_devices(func: Callable[..., Any], tensors: list[Tensor]) -> None:
    """Raise where a GPU would: it takes no tensors of the CPU beside its own, except numbers."""
    elsewhere = [isinstance(x, SecondDeviceTensor) for x in tensors]
    pairs = list(zip(tensors, elsewhere, strict=True))
    if any(x.device == DEVICE and not away for x, away in pairs):
        raise AssertionError(f"{func} got a tensor that was made past `Constructors`.")
    if func in MOVES or not any(elsewhere) or (func in INDEXES and elsewhere[0]):
        return
    if any(x.dim() and not away for x, away in pairs):
        found = ", ".join(
            f"{tuple(x.shape)} {'elsewhere' if away else 'on the CPU'}" for x, away in pairs
        )
        raise RuntimeError(f"{func} got tensors of two devices: {found}.")


def waits(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether the program waits for a GPU: numbers come to the CPU, or decide on a shape."""
    if not isinstance(args[0] if args else None, SecondDeviceTensor):
        return False
    if func is ops._to_copy.default:
        return torch.device(kwargs.get("device") or DEVICE) != DEVICE
    masks = [x for x in args[1] if x is not None] if func in INDEXES else []
    return func in ANSWERS or any(
        isinstance(x, SecondDeviceTensor) and x.dtype in BY_MASK for x in masks
    )


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do on the CPU what is asked for, unless a GPU would not have done it."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    refuse_two_devices(func, tensors)
    if Operations.waiting_is_refused and waits(func, args, kwargs):
        raise AssertionError(f"{func} waits for the device.")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    held_args, held_kwargs = tree_map_only(SecondDeviceTensor, lambda x: x.held, (args, kwargs))
    result = func(*held_args, **held_kwargs)
    if torch.Tag.inplace_view in func.tags:  # the tensor that says it is elsewhere has to turn, too
        with no_dispatch():
            func(*args, **kwargs)
    if func is ops.copy_.default:
        return args[0]
    known = {id(x.held): x for x in tensors if isinstance(x, SecondDeviceTensor)}
    if not (known if asked is None else torch.device(asked) == DEVICE):
        return result
    # What is changed in place stays the same tensor.
    return tree_map_only(
        Tensor, lambda x: known[id(x)] if id(x) in known else SecondDeviceTensor(x), result
    )


class Operations(TorchDispatchMode):
    waiting_is_refused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # in inference mode operations arrive before they are taken apart
            result = func.decompose(*args, **kwargs or {})
        return compute(func, args, kwargs or {}) if result is NotImplemented else result


class Constructors(TorchFunctionMode):
    """``torch.tensor`` would make a tensor without numbers, past all operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            like, *rest = args
            kwargs = {"dtype": like.dtype, "device": like.device, **kwargs}
            func, args = torch.tensor, tuple(rest)
        if func is torch.nn.functional.ctc_loss:  # a GPU takes lengths from the CPU
            args = tuple(x.to(args[0].device) for x in args)
        if func is Tensor.__getitem__ and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]))
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Refuse what keeps the program from going on while the device computes."""
    with patch.object(Operations, "waiting_is_refused", True):
        yield


@contextmanager
def second_device() -> Iterator[torch.device]:
    """Let tensors on a second device have numbers, and give the device."""
    autocast = torch.autocast

    def autocast_if_possible(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return (
            nullcontext() if device_type == DEVICE.type else autocast(device_type, *args, **kwargs)
        )

    with patch("torch.autocast", autocast_if_possible), Constructors(), Operations():
        yield DEVICE
