"""The site: ``pip install -c constraints.txt -e '.[docs]'``, then ``sphinx-build -W docs docs/_build``."""

import sys
from importlib.metadata import version as installed

import netfold

# Public names of modules that live elsewhere: autodoc imports a module by the name that the reference gives it.
sys.modules |= {"netfold.bounds": netfold.bounds, "netfold.monitors": netfold.monitors}

project = "netfold"
author = "The netfold developers"
copyright = "The netfold developers"
version = release = installed("netfold")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/README.rst", "**/*.ipynb"]
html_theme = "furo"
html_title = "netfold"
html_copy_source = False

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_ignore_module_all = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_preprocess_types = False
nitpicky = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "min_reported_time": 5,
    "show_memory": False,
    "within_subsection_order": "FileNameSortKey",
}
