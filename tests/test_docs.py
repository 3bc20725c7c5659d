"""The site's pages and the library's public names agree."""

import re
from pathlib import Path

import netfold as nf

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_every_public_name_has_a_place_in_the_reference():
    """The API page lists the promised names, all of them and no others."""
    listed = re.findall(r"^   ([A-Za-z_]\w*)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(nf.__all__)
    assert all(hasattr(nf, name) for name in listed)


def test_every_page_is_reached_from_the_first():
    """No page is left out of the tables of contents, and none that is named is missing."""
    index = (DOCS / "index.md").read_text()
    named = {line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.split("\n")}
    named = {line for line in named if line and not line.startswith(":")}
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert named - {"examples/index"} == pages
