# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Parameters of MMOCR's decoders that nothing can teach."""

SILENT = {
    # Biases of one number that is added to all attention logits alike: softmax takes it away.
    "aster": {"decoder.proj_sum.bias"},
    "sar": {"decoder.conv1x1_2.bias"},
    "sar-sequential": {"decoder.conv1x1_2.bias"},
    # A bias of the keys adds the same to all logits of a query: softmax takes it away.
    "robustscanner": {"decoder.position_decoder.position_aware_module.mixer.2.bias"},
}
"""Parameters that get no gradient from text, all of them by MMOCR's design."""
