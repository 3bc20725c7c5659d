"""The site's pages and the library's public names agree."""

import contextlib
import io
import re
from pathlib import Path
from types import ModuleType

import matplotlib
import matplotlib.pyplot as plt
import pytest

import netfold as nf

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_every_public_name_has_a_place_in_the_reference():
    """The API page has an entry for each promised name, those of submodules too, and names other spellings."""
    text = (DOCS / "api.md").read_text()
    listed = re.findall(r"^   ([A-Za-z_][\w.]*)$", text, re.MULTILINE)
    spellings = [name for name in nf.__all__ if getattr(getattr(nf, name), "__name__", name) in {*nf.__all__} - {name}]
    assert [name for name in spellings if f"``nf.{name}``" not in text] == []
    modules = [name for name in nf.__all__ if isinstance(getattr(nf, name), ModuleType)]
    own = {id(getattr(nf, name)) for name in nf.__all__}
    inside = [
        f"{module}.{name}"
        for module in modules
        for name in getattr(nf, module).__all__
        if id(getattr(getattr(nf, module), name)) not in own
    ]
    assert sorted(listed) == sorted([*(name for name in nf.__all__ if name not in spellings), *inside])


def test_every_page_is_reached_from_the_first():
    """No page is left out of the tables of contents, and none that is named is missing."""
    index = (DOCS / "index.md").read_text()
    named = {line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.split("\n")}
    named = {line for line in named if line and not line.startswith(":")}
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert named - {"examples/index"} == pages


PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page that are no doctests (those run as such)."""
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in found if ">>>" not in block]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore")
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever copies a page's Python blocks one after the other into a script has a script that runs."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names: dict[str, object] = {"__name__": "__main__"}
    if page.stem == "regions":
        names |= {"nf": nf, "net": nf.random_network(2, 4, 1, sigma_b=0.5, seed=0)}
    with contextlib.redirect_stdout(io.StringIO()):
        for number, block in enumerate(blocks(page), 1):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    plt.close("all")
