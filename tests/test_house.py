"""The rooms of the library: CONTRIBUTING.md lists them from the ground up, and imports run down that list, without circles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "netfold"


def rooms() -> list[str]:
    """What CONTRIBUTING.md lists, from the ground up."""
    listed = (ROOT / "CONTRIBUTING.md").read_text().split("## Where things live")[1].split("```")[1]
    return re.findall(r"^([\w/]+(?:/|\.py))\s", listed, re.MULTILINE)


def room_of(file: str) -> str:
    """The innermost room of a file."""
    return max((room for room in rooms() if file.startswith(room)), key=len, default="none")


def imports() -> nx.DiGraph:
    """Which file imports which: at the top, for type checkers, and inside functions."""
    files = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    modules = {"netfold." + re.sub(r"(/?__init__)?\.py$", "", name).replace("/", "."): name for name in files}
    graph = nx.DiGraph()
    graph.add_nodes_from(files)
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            named = _named(node)
            targets = {modules.get(whole, modules.get(module)) for module, whole in named}
            graph.add_edges_from((name, target) for target in targets if target not in {None, name})
    return graph


def _named(node: ast.AST) -> list[tuple[str, str]]:
    """Modules that a statement imports, and the modules that the imported names could be."""
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports name the whole path"
        return [(str(node.module), f"{node.module}.{alias.name}") for alias in node.names]
    if isinstance(node, ast.Import):
        return [(alias.name, alias.name) for alias in node.names]
    return []


def test_every_file_has_a_room() -> None:
    """Each file of the source lies in a room of the list, and each room of the list exists."""
    assert [name for name in imports() if room_of(name) == "none"] == ["__init__.py"]
    assert [room for room in rooms() if not (SOURCE / room).exists()] == []


def test_no_import_runs_up() -> None:
    """A file imports from its own room and from rooms listed before it, in whatever way it imports."""
    order = rooms()
    upward = [
        (above, below)
        for below, above in imports().edges
        if below != "__init__.py"
        and (above == "__init__.py" or order.index(room_of(above)) > order.index(room_of(below)))
    ]
    assert upward == []


def test_no_circle() -> None:
    """No file imports itself by way of others."""
    assert [sorted(circle) for circle in nx.strongly_connected_components(imports()) if len(circle) > 1] == []
