# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Loading a CLIP model through open_clip, and telling one CLIP from another."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import parse_model_name
from torch import nn

from mmdptr.bfloat16 import cpu_multiplies_bfloat16

from . import word_vit  # noqa: F401  registers it with timm
from .packaged import is_packed, known_tokens, packaged_models, unpacked

logger = logging.getLogger("mmdptr")

RANDOM = "random"
PACKAGED = "packaged"
OPENAI = "openai"
MODEL_CONFIGS = Path(__file__).parent / "model_configs"
AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}
"""dict[str, torch.dtype]: Precisions that keep weights and sums in float32, and what products are
in."""

PRECISIONS = {
    **{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16},
    **dict.fromkeys(AUTOCAST, torch.float32),
}
"""dict[str, torch.dtype]: Precisions, and what weights and features are in."""

open_clip.add_model_config(MODEL_CONFIGS)


@dataclass(frozen=True)
class CLIPIdentity:
    """What a manifest records of the CLIP that wrote it.

    Args:
        model (str): open_clip's model name.
        pretrained (str): open_clip's tag, the name of the local weights file, ``'packaged'`` or
            ``'random'``.
        weights_sha256 (str): Hash over all weights as loaded; the same for the same weights,
            whichever file they came from.
        file_sha256 (str): Hash of the local weights file, empty for tags and random weights.
        precision (str): Data type that the features were computed in.
    """

    model: str
    pretrained: str
    weights_sha256: str
    file_sha256: str = ""
    precision: str = "fp32"

    def to_dict(self) -> dict[str, str]:
        """Return the fields as a JSON-able dict."""
        return asdict(self)


@dataclass(frozen=True)
class LoadedCLIP:
    """A frozen CLIP in eval mode, with its tokenizer, image transform and identity.

    ``known_tokens`` are those that the weights were trained on, None if all may be.
    """

    model: nn.Module
    tokenizer: Any
    preprocess: Callable[..., torch.Tensor]
    identity: CLIPIdentity
    device: torch.device
    dtype: torch.dtype
    known_tokens: frozenset[int] | None = None

    def autocast(self) -> torch.autocast:
        """Return the context to compute in; what was set around it does not count."""
        dtype = AUTOCAST.get(self.identity.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


def load_clip(
    model: str = "ViT-B-16-quickgelu",
    pretrained: str | None = None,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    seed: int = 0,
    cache_dir: str | None = None,
    image_size: tuple[int, int] | None = None,
    custom_text: bool = False,
) -> LoadedCLIP:
    """Load a CLIP as a frozen source of features.

    Args:
        model (str): Any model name of open_clip, ``mmdptr-tiny`` (a small tower for experiments
            without weights), or open_clip's ``local-dir:...`` and ``hf-hub:...`` forms.
            Defaults to ``'ViT-B-16-quickgelu'``, the model of the paper.
        pretrained (str, optional): A pretrained tag of open_clip, a local weights file,
            ``'packaged'`` for weights that come with this package, or ``'random'``. Defaults to
            None: the weights that a ``local-dir:`` or ``hf-hub:`` model brings, those that come
            with this package if it has some of the model, ``'openai'`` if it has that tag.
        device (str or torch.device): Where the features are computed. Defaults to ``'cpu'``.
        precision (str): ``'fp32'``; ``'bf16'`` or ``'fp16'`` for everything; ``'amp_bf16'`` or
            ``'amp_fp16'`` for products alone (autocast). Defaults to ``'fp32'``.
        seed (int): Seed of random weights, so that they can be had again. Defaults to 0.
        cache_dir (str, optional): Where open_clip keeps downloads. Defaults to its own choice.
        image_size (tuple[int, int], optional): Height and width of images; position embeddings of
            another size are interpolated. Defaults to None: that of the model.
        custom_text (bool): Whether the text tower is a module of its own, ``model.text``, and not
            part of the model itself, as it is in many. Defaults to False: the model's own build.

    Returns:
        LoadedCLIP: The model with everything that belongs to it.

    Raises:
        ValueError: Unknown model, tag or precision; no weights named; or the activation that the
            weights were trained with (QuickGELU) is not the model's.
        FileNotFoundError: ``pretrained`` looks like a file but there is none.
        RuntimeError: The weights could not be downloaded, read, or do not fit the model.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"Unknown precision {precision!r}. Expected one of {', '.join(PRECISIONS)}."
        )
    if torch.device(device).type == "cpu" and "bf16" in precision and not cpu_multiplies_bfloat16():
        logger.warning(
            "Precision %s is slow on this CPU, which has neither AVX512-BF16 nor AMX; fp32 is many "
            "times as fast.",
            precision,
        )
    schema, _ = parse_model_name(model)
    if schema is None:
        model = model.replace("/", "-")  # 'ViT-B/16' is 'ViT-B-16', as in open_clip
        if pretrained is None:
            pretrained = _weights_of(model)
        _check_names(model, pretrained)
    elif pretrained not in (None, RANDOM):
        raise ValueError(
            f"{model!r} brings its own weights, but pretrained={pretrained!r} was given too. "
            "Leave it None."
        )

    if image_size is not None and image_size[0] == image_size[1]:
        size: tuple[int, int] | int | None = image_size[0]  # convolutional towers take one number
    else:
        size = image_size
    packaged = pretrained == PACKAGED
    file = packaged_models()[model] if packaged else Path(pretrained or "")
    packed = packaged or is_packed(file)
    with torch.random.fork_rng(devices=[]), _quiet_open_clip(), ExitStack() as stack:
        torch.manual_seed(seed)
        try:
            weights = str(stack.enter_context(unpacked(file))) if packed else pretrained
            net, _, preprocess = open_clip.create_model_and_transforms(
                model,
                pretrained=None if pretrained == RANDOM else weights,
                load_weights=pretrained != RANDOM,
                require_pretrained=pretrained != RANDOM,
                pretrained_text=pretrained != RANDOM,
                cache_dir=cache_dir,
                force_image_size=size,
                force_custom_text=custom_text,
                device="cpu",
            )
        except Exception as error:  # a damaged file can raise anything
            raise RuntimeError(
                f"CLIP {model!r} could not be loaded with pretrained={pretrained!r}: "
                f"{type(error).__name__}: {error}. Check that the weights belong to this model "
                "and are complete; a tag needs network access or a filled cache (cache_dir), a "
                "local file needs its path."
            ) from error

    identity = CLIPIdentity(
        model=model,
        pretrained=file.name if file.is_file() and not packaged else (pretrained or ""),
        weights_sha256=_hash_weights(net),
        file_sha256=_hash_file(file) if file.is_file() else "",
        precision=precision,
    )
    dtype = PRECISIONS[precision]
    net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return LoadedCLIP(
        net,
        open_clip.get_tokenizer(model),
        preprocess,
        identity,
        torch.device(device),
        dtype,
        known_tokens(file) if packed else None,
    )


def _weights_of(model: str) -> str | None:
    """Return the weights of a model that are meant where none are named."""
    if model in packaged_models():
        return PACKAGED
    return OPENAI if OPENAI in _tags(model) else None


def _check_names(model: str, pretrained: str | None) -> None:
    """Refuse what open_clip would only warn of, or fail on much later."""
    if open_clip.get_model_config(model) is None:
        raise ValueError(
            f"open_clip {open_clip.__version__} knows no model {model!r}. It knows "
            f"{', '.join(open_clip.list_models())}."
        )
    if not pretrained:
        raise ValueError(
            f"No weights named for {model!r}. Give a tag "
            f"({', '.join(_tags(model)) or 'it has none'}), a local weights file, or "
            "pretrained='random' if random weights are really meant."
        )
    if pretrained == PACKAGED and model not in packaged_models():
        raise ValueError(
            f"No weights of {model!r} come with mmdptr; it has those of "
            f"{', '.join(packaged_models()) or 'none'}."
        )
    if pretrained in (RANDOM, PACKAGED) or Path(pretrained).is_file():
        return
    if Path(pretrained).suffix or "/" in pretrained:
        raise FileNotFoundError(
            f"CLIP weights file {pretrained!r} does not exist. Give an existing file or one of the "
            f"tags of {model!r}: {', '.join(_tags(model)) or 'it has none'}."
        )
    _check_activation(model, pretrained)


def _check_activation(model: str, tag: str) -> None:
    """OpenAI's weights were trained with QuickGELU; with GELU they silently lose accuracy."""
    weights = open_clip.pretrained.get_pretrained_cfg(model, tag)
    if not weights:
        raise ValueError(
            f"open_clip has no pretrained tag {tag!r} for {model!r}. It has "
            f"{', '.join(_tags(model)) or 'none'}; or give a local weights file, or 'random'."
        )
    in_weights = bool(weights.get("quick_gelu", False))
    in_model = bool(open_clip.get_model_config(model).get("quick_gelu", False))
    base = model.removesuffix("-quickgelu")
    right = f"{base}-quickgelu" if in_weights else base
    # Of some models (roberta-ViT-B-32) there is only one, whatever open_clip says of the weights.
    if in_weights != in_model and right != model:
        raise ValueError(
            f"The weights {tag!r} were trained with {_activation(in_weights)}, but the model "
            f"{model!r} computes {_activation(in_model)}; its features would be wrong without an "
            f"error. Use model={right!r}."
        )


def _activation(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _tags(model: str) -> list[str]:
    return open_clip.list_pretrained_tags_by_model(model)


def _hash_weights(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _quiet_open_clip() -> Iterator[None]:
    """Hide open_clip's warnings about what has been checked here already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
