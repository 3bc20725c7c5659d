"""One name, one thing."""

import ast
from collections import defaultdict
from pathlib import Path

import netfold as nf

SOURCE = Path(__file__).parents[1] / "src" / "netfold"


def _promised_twice() -> set[str]:
    """Public names that two public rooms use for a class of their own, as `nf.theory` and `nf.bounds` do."""
    owners: dict[str, set[type]] = defaultdict(set)
    for room in (nf, nf.theory, nf.bounds, nf.ranking, nf.monitors):
        for name in room.__all__:
            if isinstance(thing := getattr(room, name), type):
                owners[name].add(thing)
    return {name for name, classes in owners.items() if len(classes) > 1}


def test_a_class_name_means_one_class():
    """Whoever meets a class's name anywhere knows which it is."""
    homes: dict[str, list[str]] = defaultdict(list)
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(file.relative_to(SOURCE)))
    promised = _promised_twice()
    assert {name: files for name, files in homes.items() if len(files) > 1 and name not in promised} == {}
