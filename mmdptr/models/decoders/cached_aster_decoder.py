# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""ASTER's decoder that computes what all steps share once, and ends with the text."""

from collections.abc import Sequence

import torch
from mmocr.models.textrecog.decoders import ASTERDecoder
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor
from torch.nn import functional as F

from .greedy_decoding import decode_greedily, end_tokens, fill_steps


@MODELS.register_module()
class CachedASTERDecoder(ASTERDecoder):
    """MMOCR's ASTER decoder that trains and reads the same in less time.

    MMOCR 1.0.1 projects the memory anew in each step, and takes as many steps as the longest text
    that there may be. Here the memory is projected once, and the steps end with the longest text of
    the batch. Arguments, parameters, losses and texts are MMOCR's own, so weights of either class
    serve both.

    Shapes: N samples, L slots of memory, C channels, A channels of attention, T steps
    (``max_seq_len``), K classes.
    """

    def forward_train(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] = (),
    ) -> Tensor:
        """Predict each character of the targets from those before it.

        Args:
            feat (Tensor, optional): Not read.
            out_enc (Tensor): Memory of shape (N, L, C).
            data_samples (Sequence[TextRecogDataSample]): With targets.

        Returns:
            Tensor: Logits of shape (N, T, K); zeros behind the longest target, where the loss takes
            nothing into account.
        """
        assert out_enc is not None
        targets = torch.stack([sample.gt_text.padded_indexes for sample in data_samples])
        steps = self._steps(targets)
        embedded = self.embedding(targets[:, :steps].to(out_enc.device, non_blocking=True))
        keys, state = self.proj_feat(out_enc), self._first_state(out_enc)
        outputs = []
        for step in range(steps):
            output, state = self._step(embedded[:, step], out_enc, keys, state)
            outputs.append(output)
        logits = self.fc(torch.stack(outputs, dim=1))
        return F.pad(logits, (0, 0, 0, targets.shape[1] - steps))

    def forward_test(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Decode greedily.

        Args:
            feat (Tensor, optional): Not read.
            out_enc (Tensor): Memory of shape (N, L, C).
            data_samples (Sequence[TextRecogDataSample], optional): Not read.

        Returns:
            Tensor: Probabilities of shape (N, T, K). Steps after the last sample's end are padding.
        """
        assert out_enc is not None
        keys, state = self.proj_feat(out_enc), self._first_state(out_enc)

        def next_logits(tokens: Tensor, step: int) -> Tensor:
            nonlocal state
            output, state = self._step(self.embedding(tokens), out_enc, keys, state)
            return self.fc(output)

        start = torch.full((len(out_enc),), self.start_idx, device=out_enc.device)
        logits = decode_greedily(next_logits, start, self.max_seq_len, end_tokens(self))
        return fill_steps(self.softmax(logits), self.max_seq_len, self.dictionary)

    def _steps(self, targets: Tensor) -> int:
        """Return after how many steps all targets are padding that the loss ignores."""
        padding = self.dictionary.padding_idx
        if getattr(self.module_loss, "ignore_index", None) != padding:
            return targets.shape[1]
        return int((targets != padding).sum(dim=1).max().clamp(min=1))

    def _first_state(self, memory: Tensor) -> Tensor:
        return torch.zeros(1, len(memory), self.hidden_size, device=memory.device)

    def _step(
        self, embedded: Tensor, memory: Tensor, keys: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read the memory (N, L, C) by keys (N, L, A), and go on from a state (1, N, C).

        Returns:
            tuple[Tensor, Tensor]: The output of shape (N, C), and the next state.
        """
        query = self.proj_hidden(state[0])[:, None]
        weights = self.proj_sum(torch.tanh(keys + query)).softmax(dim=1)
        context = (weights.transpose(1, 2) @ memory)[:, 0]
        output, state = self.gru(torch.cat([embedded, context], dim=1)[:, None], state)
        return output[:, 0], state
