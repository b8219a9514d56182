# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True, scope="module")
def scope() -> None:
    """As in a run: model configs name classes of MMOCR."""
    init_default_scope("mmocr")
