# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The mean pseudo memory of each slot."""

import torch
from torch import Tensor, nn


class SlotPrior(nn.Module):
    """Keeps the running mean of each memory slot, to start the FMU's queries from.

    The FMU's output is its query plus what it attended to. With queries that begin at the mean
    text memory of their slot, the decoder meets memory of the form it knows from the first step of
    fine-tuning on. The means are of memory as the decoder reads it (noise and projection included)
    and forget slowly, so that they follow the projection as it learns.

    The buffer ``queries`` has the name of the FMU's parameter: a checkpoint that holds this module
    under ``neck.`` loads into an FMU. Under several processes each keeps the means of its own
    share, which MMEngine's ``SyncBuffersHook`` averages after every epoch.

    Args:
        num_slots (int): Slots Q that are followed.
        width (int): Channels C of the memory.
        decay (float): What is left of the old sums after a batch. Defaults to 0.99.
    """

    queries: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, num_slots: int, width: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("queries", torch.zeros(num_slots, width))
        self.register_buffer("sums", torch.zeros(num_slots, width))
        self.register_buffer("counts", torch.zeros(num_slots))

    @torch.no_grad()
    def update(self, memory: Tensor, lengths: Tensor) -> None:
        """Take in a batch.

        Slots that no label has reached yet get the mean over all slots, a neutral start.

        Args:
            memory (Tensor): Of shape (N, L, C).
            lengths (Tensor): Valid slots a label, of shape (N,).
        """
        slots = min(memory.shape[1], len(self.queries))
        lengths = lengths.to(memory.device, non_blocking=True)
        valid = torch.arange(slots, device=memory.device) < lengths[:, None]
        weights = valid.float()
        self.sums *= self.decay
        self.counts *= self.decay
        with torch.autocast(memory.device.type, enabled=False):  # sums of a batch may outgrow half
            self.sums[:slots] += torch.einsum("nl,nlc->lc", weights, memory[:, :slots].float())
        self.counts[:slots] += weights.sum(dim=0)
        overall = self.sums.sum(dim=0) / self.counts.sum()
        means = self.sums / self.counts.clamp(min=1e-6)[:, None]
        self.queries.copy_(torch.where(self.counts[:, None] > 0.5, means, overall))
