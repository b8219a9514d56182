# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import torch

from mmdptr.models.data_preprocessors.padded_rows import padded_rows


def test_sequences_lie_one_behind_the_other_and_end_on_their_last_row() -> None:
    rows = padded_rows(torch.tensor([3, 1, 2]), 4)
    assert rows.tolist() == [[0, 1, 2, 2], [3, 3, 3, 3], [4, 5, 5, 5]]
