"""The site: ``pip install -c constraints.txt -e '.[docs]'``, then ``sphinx-build -W docs docs/_build``."""

import re
import sys
import textwrap
from importlib.metadata import version as installed
from pathlib import Path

import netfold
from netfold.cli import app

# Public names of modules that live elsewhere: autodoc imports a module by the name that the reference gives it.
sys.modules |= {"netfold.bounds": netfold.bounds, "netfold.monitors": netfold.monitors}

# The reference of the command line, made from the commands: their examples as code, without the list of contents.
commands = app.generate_docs(output_format="markdown", recursive=True, heading_level=1)
commands = re.sub(r"## Table of Contents\n.*?(?=\n#)", "", commands, count=1, flags=re.DOTALL)
commands = commands.removeprefix("# netfold\n\n")
# who builds with "python -m sphinx" would find "-m sphinx" in every usage
commands = re.sub(r"^(netfold .*?) -m \w+(?= )", r"\1", commands, flags=re.MULTILINE)
examples = re.compile(r"(?:^  netfold .*\n)+", re.MULTILINE)
commands = examples.sub(lambda found: f"```bash\n{textwrap.dedent(found[0])}```\n", commands)
generated = Path(__file__).parent / "_generated"
generated.mkdir(exist_ok=True)
(generated / "commands.md").write_text(commands, encoding="utf-8")

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
exclude_patterns = ["_build", "_generated", "gallery/README.rst", "**/*.ipynb"]
smartquotes_action = "qe"  # two dashes begin an option, they are none between words
html_theme = "furo"
html_title = "netfold"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["overflow.css"]

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
