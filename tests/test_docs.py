"""The site's pages and the library's public names agree."""

import re
from pathlib import Path
from types import ModuleType

import netfold as nf

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_every_public_name_has_a_place_in_the_reference():
    """The API page has an entry for each promised name, those of submodules too, and for no others."""
    listed = re.findall(r"^   ([A-Za-z_][\w.]*)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    modules = [name for name in nf.__all__ if isinstance(getattr(nf, name), ModuleType)]
    own = {id(getattr(nf, name)) for name in nf.__all__}
    inside = [
        f"{module}.{name}"
        for module in modules
        for name in getattr(nf, module).__all__
        if id(getattr(getattr(nf, module), name)) not in own
    ]
    assert sorted(listed) == sorted([*nf.__all__, *inside])


def test_every_page_is_reached_from_the_first():
    """No page is left out of the tables of contents, and none that is named is missing."""
    index = (DOCS / "index.md").read_text()
    named = {line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.split("\n")}
    named = {line for line in named if line and not line.startswith(":")}
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert named - {"examples/index"} == pages
