# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Any encoder-decoder recognizer of MMOCR, with an FMU before its decoder."""

from typing import Any

import torch
from mmocr.models.textrecog.encoders import NRTREncoder
from mmocr.models.textrecog.recognizers import EncoderDecoderRecognizer
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor

from mmdptr.models.annotation import annotate
from mmdptr.models.memory import find_memory_layout
from mmdptr.models.necks.fmu import valid_columns
from mmdptr.models.position import add_positions


@MODELS.register_module()
class DPTRRecognizer(EncoderDecoderRecognizer):
    """Recognizer whose decoder can be pre-trained on text alone (DPTR, arXiv 2408.05706).

    Every recognizer class of MMOCR is an empty subclass of ``EncoderDecoderRecognizer``, so this
    one takes the place of any of them: set ``type='DPTRRecognizer'`` and, for the FMU,
    ``neck=dict(type='FMU')``. Without the neck it computes what MMOCR's own class does, and in both
    cases all other parameters keep their names, so that MMOCR's released weights load.

    Args:
        neck (dict, optional): Config of the FMU. Its channels and number of queries follow the
            decoder unless set. Defaults to None.
        memory (str or dict, optional): Memory layout, for decoders that have none registered; see
            :func:`find_memory_layout`. Defaults to None.
        with_position (bool): Whether to tell the FMU where its tokens stand: by 2-D sinusoids on
            its keys and, before it, on the input of NRTR's encoder, which knows no positions.
            Other encoders know them, but what they give tells little of them while they are still
            untrained, and that is when the FMU's queries find their places. Defaults to True.
        decoder (dict): Decoder config.
        **kwargs: Arguments of ``EncoderDecoderRecognizer``.
    """

    def __init__(
        self,
        neck: dict[str, Any] | None = None,
        memory: str | dict[str, Any] | None = None,
        with_position: bool = True,
        *,
        decoder: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(decoder=decoder, **kwargs)
        if neck is not None:
            self.layout = find_memory_layout(decoder, memory)
            self.with_position = with_position
            self.neck = MODELS.build(
                {
                    "embed_dims": self.layout.width_of(decoder),
                    "num_queries": self.layout.slots_of(decoder),
                    "with_position": with_position,
                    **neck,
                }
            )
            if self.layout.leaves_out_encoder and self.with_encoder:
                # Nothing reads it. It stays for its names, and frozen: DDP waits for gradients.
                self.encoder.requires_grad_(False)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Return what the backbone makes of images (N, 3, H, W).

        A preprocessor runs in float32 at least, under autocast too: the coordinates of MMOCR's
        spatial transformer are differences of large terms, of which half precision leaves nothing.
        """
        if self.with_preprocessor:
            single = torch.promote_types(inputs.dtype, torch.float32)
            with torch.autocast(inputs.device.type, enabled=False):
                inputs = self.preprocessor(inputs.to(single))
        return self.backbone(inputs) if self.with_backbone else inputs

    @property
    def with_neck(self) -> bool:
        """bool: Whether an FMU stands before the decoder."""
        return hasattr(self, "neck")

    def loss(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Calculate the decoder's losses of images (N, 3, H, W)."""
        if not self.with_neck:
            return super().loss(inputs, data_samples, **kwargs)
        return self.decoder.loss(*self._read(inputs, data_samples))

    def predict(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> list[TextRecogDataSample]:
        """Read images (N, 3, H, W); results are in ``pred_text`` of the data samples."""
        if not self.with_neck:
            return super().predict(inputs, data_samples, **kwargs)
        feat, out_enc, samples = self._read(inputs, data_samples)
        for sample, read in zip(
            data_samples, self.decoder.predict(feat, out_enc, samples), strict=True
        ):
            sample.pred_text = read.pred_text
        return data_samples

    def _forward(
        self,
        inputs: Tensor,
        data_samples: list[TextRecogDataSample] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if not self.with_neck:
            return super()._forward(inputs, data_samples, **kwargs)
        return self.decoder(*self._read(inputs, data_samples))

    @torch.no_grad()
    def merge_attention(self, inputs: Tensor, data_samples: list[TextRecogDataSample]) -> Tensor:
        """Return what each FMU query looks at, of shape (N, Q, H, W): a grid over the image.

        Raises:
            ValueError: The recognizer has no FMU.
        """
        if not self.with_neck:
            raise ValueError("This recognizer has no FMU. Set model.neck=dict(type='FMU').")
        feat = self.extract_feat(inputs)
        tokens, shape = self.layout.tokens(feat, self._encode_site(feat, data_samples))
        return self.neck(tokens, shape, _valid_ratios(data_samples), return_attention=True)[1]

    @torch.no_grad()
    def feature_shape(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample]
    ) -> tuple[int, ...]:
        """Return the shape of what stands before the layers that learn to read typeset text.

        These are the FMU's own, if it has some; else those of the encoder behind the backbone.

        Returns:
            tuple[int, ...]: (C, H, W), or (L, C) of a sequence; see :class:`TypesetPretrainer`.
        """
        training = self.training
        features = self.eval().extract_feat(inputs)
        if self.with_neck and self.neck.layers is not None:
            tokens, grid = self.layout.tokens(features, self._encode_site(features, data_samples))
            features = tokens.transpose(1, 2).unflatten(2, grid)
        elif not self.with_backbone and self.with_encoder:
            features = self.encoder(features, data_samples)
        self.train(training)
        return tuple(features.shape[1:])

    def _encode_site(
        self, feat: Tensor, data_samples: list[TextRecogDataSample] | None
    ) -> Tensor | None:
        """What the encoder gives the FMU, None if the FMU stands before it."""
        return self._encode(feat, data_samples) if self.layout.site == "out_enc" else None

    def _encode(
        self, feat: Tensor, data_samples: list[TextRecogDataSample] | None
    ) -> Tensor | None:
        if not self.with_encoder:
            return None
        ratios = _valid_ratios(data_samples)
        if self.layout.site != "out_enc" or not isinstance(self.encoder, NRTREncoder):
            return self.encoder(feat, _with_ratios(data_samples, ratios))
        height, width = feat.shape[2:]
        if self.with_position:
            # Slots are counted from the left: without positions this encoder could not count.
            feat = add_positions(feat)
        # The order of tokens is nothing to it, so they go in column by column: what MMOCR masks is
        # the end of the sequence, which then is the padded columns and not the last rows.
        if ratios is not None:
            ratios = [(valid_columns(width, r) * height - 0.5) / (width * height) for r in ratios]
        feat = feat.transpose(2, 3).contiguous()
        tokens = self.encoder(feat, _with_ratios(data_samples, ratios))
        return tokens.unflatten(1, (width, height)).transpose(1, 2).flatten(1, 2)

    def _read(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample] | None
    ) -> tuple[Tensor | None, Tensor | None, list[TextRecogDataSample] | None]:
        """Everything before the decoder: its ``feat``, ``out_enc`` and data samples.

        The FMU masks padding itself and all its slots are valid, so what follows it gets copies of
        the data samples with a ``valid_ratio`` of 1; the caller's stay as they are.
        """
        feat = self.extract_feat(inputs)
        ratios = _valid_ratios(data_samples)
        tokens, shape = self.layout.tokens(feat, self._encode_site(feat, data_samples))
        samples = _with_ratios(data_samples, [1.0] * len(tokens))
        memory = self.layout.arrange(self.neck(tokens, shape, ratios))
        feat = memory.get("feat", feat)
        out_enc = memory["out_enc"] if "out_enc" in memory else self._encode(feat, samples)
        return feat, out_enc, samples


def _valid_ratios(data_samples: list[TextRecogDataSample] | None) -> list[float] | None:
    if data_samples is None:
        return None
    return [sample.get("valid_ratio", 1.0) for sample in data_samples]


def _with_ratios(
    data_samples: list[TextRecogDataSample] | None, ratios: list[float] | None
) -> list[TextRecogDataSample] | None:
    """Copies with other ratios; MMOCR's encoders fail on samples that have none."""
    if data_samples is None or ratios is None:
        return None
    pairs = zip(data_samples, ratios, strict=True)
    return [annotate(sample, valid_ratio=ratio) for sample, ratio in pairs]
