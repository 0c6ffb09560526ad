"""How Sphinx builds these pages: sphinx-build -W -b html docs docs/_build."""

from elman import __version__

project = "elman"
author = "the authors of elman"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = True

html_theme = "furo"
html_title = f"elman {release}"
html_show_copyright = False
