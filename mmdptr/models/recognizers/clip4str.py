# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP4STR."""

from typing import Any

import torch
from mmocr.models.textrecog.recognizers import BaseRecognizer
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor

from mmdptr.models.decoders.greedy_decoding import fill_steps
from mmdptr.models.memory import find_memory_layout
from mmdptr.models.necks.fmu import FMU


@MODELS.register_module()
class CLIP4STR(BaseRecognizer):
    """CLIP with two branches: one reads the image, one corrects what was read (arXiv 2305.14014).

    The visual branch is a decoder on CLIP's image tokens. What it reads goes through CLIP's text
    tower, and the cross-modal branch, a decoder of its own, reads image and text tokens together.
    Both are trained under the same orders with the true text as context; the cross-modal branch
    teaches the text tower, and not the image tower.

    Reading is dual predict-and-refine: the visual branch reads, the cross-modal branch reads, the
    visual branch refines its text, the cross-modal branch refines its own. Each step but the first
    can be switched off; the last one that is left on gives the result.

    Args:
        backbone (dict): Config of a :class:`CLIPVisionBackbone` with its class token, or of another
            backbone that gives tokens or a map as wide as the text.
        text_encoder (dict): Config of a :class:`CLIPTextBranch`.
        decoder (dict): Config of the visual branch's :class:`PARSeqDecoder`.
        cross_decoder (dict): Config of the cross-modal branch's :class:`PARSeqDecoder`, of the same
            dictionary and lengths.
        neck (dict, optional): Config of an FMU: both branches then read its slots in place of the
            image tokens, as pre-trained decoders know them. Its channels and queries follow the
            decoder unless set. Images are to fill their width. Defaults to None, as in the paper.
        cross_decoding (bool): Whether the cross-modal branch reads; else it begins with what the
            visual one has read. Defaults to True.
        visual_refinement (bool): Whether the visual branch refines. Defaults to True.
        cross_refinement (bool): Whether the cross-modal branch refines. Defaults to True.
        data_preprocessor (dict, optional): Config of the data preprocessor. Defaults to None.
        init_cfg (dict or list[dict], optional): Initialization config. Defaults to None.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        text_encoder: dict[str, Any],
        decoder: dict[str, Any],
        cross_decoder: dict[str, Any],
        neck: dict[str, Any] | None = None,
        cross_decoding: bool = True,
        visual_refinement: bool = True,
        cross_refinement: bool = True,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.layout = find_memory_layout(decoder)
        sizes = {
            "embed_dims": self.layout.width_of(decoder),
            "num_queries": self.layout.slots_of(decoder),
        }
        self.neck: FMU | None = None if neck is None else MODELS.build({**sizes, **neck})
        self.backbone = MODELS.build(backbone)
        self.text_encoder = MODELS.build(text_encoder)
        self.decoder = MODELS.build(decoder)
        self.cross_decoder = MODELS.build(cross_decoder)
        self.cross_decoding = cross_decoding
        self.visual_refinement = visual_refinement
        self.cross_refinement = cross_refinement

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Turn images (N, 3, H, W) into tokens (N, L, C): with an FMU its slots."""
        tokens, shape = self._tokens(inputs)
        return tokens if self.neck is None else self.neck(tokens, shape)

    @torch.no_grad()
    def merge_attention(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample] | None = None
    ) -> Tensor:
        """Return what each FMU query looks at, of shape (N, Q, H, W): a grid over the image.

        Raises:
            ValueError: The recognizer has no FMU.
        """
        if self.neck is None:
            raise ValueError("This recognizer has no FMU. Set model.neck=dict(type='FMU').")
        tokens, shape = self._tokens(inputs)
        return self.neck(tokens, shape, return_attention=True)[1]

    @torch.no_grad()
    def feature_shape(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample] | None = None
    ) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of the image tokens, which typeset text stands for.

        See :class:`TypesetPretrainer`.
        """
        training = self.training
        tokens, grid = self.eval()._tokens(inputs)
        self.train(training)
        return tokens.shape[2], *grid

    def _tokens(self, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Image tokens of shape (N, L, C), row by row, and their grid."""
        return self.layout.tokens(self.backbone(inputs), None)

    def loss(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Calculate the losses of both branches.

        Args:
            inputs (Tensor): Images of shape (N, 3, H, W).
            data_samples (list[TextRecogDataSample]): Labels.
            **kwargs: Unused.

        Returns:
            dict[str, Tensor]: ``visual.loss_ce`` and ``cross.loss_ce``.
        """
        image = self.extract_feat(inputs)
        samples = self.decoder.module_loss.get_targets(data_samples)
        content, lengths, turns = self.decoder.draw(samples)
        visual = self.decoder.predict_in_orders(image, content, lengths, turns)
        texts = [self.texts(logits) for logits in visual.detach()]
        cross = [
            self.cross_decoder.predict_in_orders(
                torch.cat([image.detach(), text], dim=1), content, lengths, order[None]
            )
            for text, order in zip(self.encode_texts(texts), turns, strict=True)
        ]
        losses = {
            "visual": self.decoder.module_loss(visual, samples),
            "cross": self.cross_decoder.module_loss(torch.cat(cross), samples),
        }
        return {f"{k}.{name}": v for k, found in losses.items() for name, v in found.items()}

    def encode_texts(self, texts: list[list[str]]) -> list[Tensor]:
        """Encode what was read under K orders, each different text once.

        Under most orders the visual branch reads the same.

        Args:
            texts (list[list[str]]): N texts for each order.

        Returns:
            list[Tensor]: Text tokens of shape (N, S, C) for each order.
        """
        different = list(dict.fromkeys(text for order in texts for text in order))
        places = {text: place for place, text in enumerate(different)}
        features = self.text_encoder(different)
        return [features[[places[text] for text in order]] for order in texts]

    def texts(self, logits: Tensor) -> list[str]:
        """Return the most probable texts of logits (N, t, M), without special tokens."""
        tokens = self.decoder.dictionary
        special = {tokens.start_idx, tokens.end_idx, tokens.padding_idx, tokens.unknown_idx}
        found = []
        for read in logits.argmax(dim=-1).tolist():
            end = read.index(tokens.end_idx) if tokens.end_idx in read else len(read)
            found.append(tokens.idx2str([x for x in read[:end] if x not in special]))
        return found

    def predict(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> list[TextRecogDataSample]:
        """Read images (N, 3, H, W); results are in ``pred_text`` of the data samples."""
        probabilities = self._forward(inputs, data_samples)
        return self.cross_decoder.postprocessor(probabilities, data_samples)

    def _forward(
        self,
        inputs: Tensor,
        data_samples: list[TextRecogDataSample] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return probabilities of shape (N, T, M)."""
        logits = self.read(self.extract_feat(inputs)).float()
        decoder = self.cross_decoder
        return fill_steps(logits.softmax(dim=-1), decoder.max_seq_len - 1, decoder.dictionary)

    def read(self, image: Tensor) -> Tensor:
        """Predict and refine.

        Args:
            image (Tensor): Image tokens of shape (N, L, C).

        Returns:
            Tensor: Logits of shape (N, t, M), with t <= T.
        """
        result = visual = self.decoder.read_places(image)
        if self.cross_decoding:
            result = self.cross_decoder.read_places(self._memory(image, visual))
        if self.visual_refinement:
            visual = self.decoder.refine(image, visual)
            if not self.cross_decoding:
                result = visual
        if self.cross_refinement:
            result = self.cross_decoder.refine(self._memory(image, visual), result)
        return result

    def _memory(self, image: Tensor, logits: Tensor) -> Tensor:
        """Image tokens and the tokens of what was read: (N, L + S, C)."""
        return torch.cat([image, self.text_encoder(self.texts(logits))], dim=1)
