"""`Plan`: which networks a sweep measures, how often, and what it measures of each."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netfold.arguments import shown
from netfold.errors import InvalidInputError
from netfold.files import require_file
from netfold.sweep.arguments import ARGUMENTS, Settings, spelled, whole
from netfold.sweep.measures import check
from netfold.sweep.sources import Draw, Grid, Listed, Source

SOURCES = ("grid", "cells", "draw")
ENTRIES = ("seed", "repeats", "measures", "fixed", "spread", *SOURCES)
MOST_CELLS = 10**9
SPREAD = ("workers", "backend", "scheduler")


@dataclass(frozen=True)
class Cell:
    """One network and one path to measure: its settings, and the number of the replicate from 0."""

    settings: Settings
    replicate: int

    @property
    def key(self) -> str:
        """What names the cell: a hash of its settings and replicate, not of its place in a plan."""
        # Defaults are left out, so that a setting which netfold gains later leaves the keys as they are.
        told = {k: v for k, v in self.settings.items() if k not in ARGUMENTS or v != ARGUMENTS[k].default}
        text = json.dumps([told, self.replicate], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def seeds(self, seed: int) -> tuple[int, int]:
        """Seeds of the cell's network and path, from the plan's seed and the key alone."""
        network, path = np.random.SeedSequence([seed, int(self.key, 16)]).generate_state(2, np.uint64)
        return int(network >> np.uint64(1)), int(path)


@dataclass(frozen=True, eq=False)
class Plan:
    """Cells to measure, a seed, and the measures; see `Sweep` for how plans are written.

    Attributes:
        source: gives the settings.
        repeats: networks and paths of each settings, drawn independently.
        measures: names of measures, or ``module:function``.
        seed: of all random choices.
        spread: how to spread the work, unless `Sweep.run` says otherwise: ``workers``, ``backend``, ``scheduler``.

    Example:
        >>> plan = Plan.read({"measures": ["regions"], "grid": {"inputs": 2, "width": [4, 8], "depth": [1, 2]}})
        >>> plan.size, next(iter(plan)).settings["width"]
        (4, 4)
    """

    source: Source
    repeats: int
    measures: tuple[str, ...]
    seed: int
    spread: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, document: Mapping[str, Any] | str | os.PathLike[str]) -> Plan:
        """A plan from a dictionary, or from a TOML file of the same shape.

        Raises:
            InvalidInputError: the plan cannot be read, or says something that no cell can be.
            FileNotFoundError: there is no such file.
        """
        if isinstance(document, Mapping):
            return cls._from_dict(document)
        require_file(document, "plan")
        try:
            with open(document, "rb") as file:
                return cls._from_dict(tomllib.load(file))
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"the plan {os.fspath(document)}: {error}") from error

    @classmethod
    def _from_dict(cls, document: Mapping[str, Any]) -> Plan:
        _require_known("entry", document, ENTRIES)
        named = [name for name in SOURCES if name in document]
        if len(named) != 1:
            raise InvalidInputError(
                f"a plan has exactly one of [grid], [[cells]] and [draw], got {' and '.join(named) or 'none'}"
            )
        if not isinstance(document.get("measures"), list | tuple) or not document["measures"]:
            raise InvalidInputError('a plan lists its measures, for example measures = ["regions", "lengths"]')
        for name in document["measures"]:
            check(name)
        seed = whole("seed", document.get("seed", 0), 0)
        repeats = whole("repeats", document.get("repeats", 1))
        source = _source(named[0], document, seed)
        if source.size * repeats > MOST_CELLS:
            raise InvalidInputError(
                f"the plan has {source.size * repeats:,} cells, at most {MOST_CELLS:,} can be told apart; split it"
            )
        spread = _table("spread", document)
        _require_known("entry of [spread]", spread, SPREAD)
        return cls(
            source=source,
            repeats=repeats,
            measures=tuple(dict.fromkeys(document["measures"])),
            seed=seed,
            spread=dict(spread),
        )

    @property
    def size(self) -> int:
        """How many cells there are."""
        return self.source.size * self.repeats

    def __iter__(self) -> Iterator[Cell]:
        # Replicates outside: a sweep that is stopped early has seen all settings a few times.
        for replicate in range(self.repeats):
            for settings in self.source:
                yield Cell(settings, replicate)

    def to_dict(self) -> dict[str, Any]:
        """The plan in the form that `read` takes, with every value spelled out."""
        spread = {"spread": self.spread} if self.spread else {}
        plain = {"seed": self.seed, "repeats": self.repeats, "measures": list(self.measures)}
        return {**plain, **self.source.to_dict(), **spread}

    def __eq__(self, other: object) -> bool:
        """Whether the two say the same."""
        return self.to_dict() == other.to_dict() if isinstance(other, Plan) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.size, self.measures, self.seed))


def _source(kind: str, document: Mapping[str, Any], seed: int) -> Source:
    fixed = _table("fixed", document)
    if kind == "cells":
        if not isinstance(document["cells"], list | tuple):
            raise InvalidInputError("cells must be a list of tables: write [[cells]] before each")
        return Listed(document["cells"], fixed)
    table = _table(kind, document)
    both = sorted(set(fixed) & set(table))
    if both:
        raise InvalidInputError(f"{' and '.join(both)} stands in [fixed] and in [{kind}]; leave one out")
    # A fixed list of widths is one value, not several.
    single = {name: [spelled(name, value)] for name, value in fixed.items()}
    return Grid({**single, **table}) if kind == "grid" else Draw(table, single, seed)


def _table(name: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, Mapping):
        raise InvalidInputError(f"{name} must be a table of settings, got {shown(found)}")
    return found


def _require_known(what: str, entries: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = [name for name in entries if name not in known]
    if unknown:
        raise InvalidInputError(f"unknown {what} {unknown[0]!r}; known are {', '.join(known)}")
