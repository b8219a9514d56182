# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration."""

from mmdptr import __version__

project = "mmdptr"
author = "mmdptr contributors"
copyright = "mmdptr contributors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing", "ref.python"]
