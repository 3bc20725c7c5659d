"""Where a plan's settings come from: a grid over lists, an explicit list, or a random draw."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from netfold.arguments import shown
from netfold.errors import InvalidInputError
from netfold.sweep.arguments import ARGUMENTS, Settings, complete, spelled, whole


class Source(Protocol):
    """Something that gives complete settings, one cell's after the other, without holding them all."""

    @property
    def size(self) -> int:
        """How many settings there are; more than ``len`` can say, where a plan says so."""
        ...

    def __iter__(self) -> Iterator[Settings]:
        """The settings, in a fixed order."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The part of a plan that makes this source again."""
        ...


class Grid:
    """Every combination of the values listed for each setting; one value alone stands for a list of it.

    Raises:
        InvalidInputError: an unknown setting, a value out of range or listed twice, nothing listed, or a
            combination that describes no network.

    Example:
        >>> [cell["depth"] for cell in Grid({"inputs": 2, "width": 4, "depth": [1, 2]})]
        [1, 2]
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        given = {name: _spelled_list(name, value) for name, value in values.items()}
        self.values = {name: given[name] for name in ARGUMENTS if name in given}
        listed = {isinstance(width, list) for width in self.values.get("width", [])}
        if len(listed) > 1:
            raise InvalidInputError("a grid over width takes numbers, or lists of numbers (one a layer), not both")
        if listed == {True} and "depth" in self.values:
            raise InvalidInputError("widths listed layer by layer also say the depth: leave depth out")
        complete({name: options[0] for name, options in self.values.items()})

    @property
    def size(self) -> int:
        """How many settings there are."""
        return math.prod(len(options) for options in self.values.values())

    def __iter__(self) -> Iterator[Settings]:
        for options in itertools.product(*self.values.values()):
            yield complete(dict(zip(self.values, options, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """The table ``grid`` of a plan."""
        return {"grid": self.values}


class Listed:
    """Cells listed one by one.

    Raises:
        InvalidInputError: a cell is no table of settings, describes no network, or is listed twice; no cell.
    """

    def __init__(self, cells: Sequence[Mapping[str, Any]], fixed: Mapping[str, Any]) -> None:
        self.cells: list[Settings] = []
        seen: dict[str, int] = {}
        for i, cell in enumerate(cells):
            if not isinstance(cell, Mapping):
                raise InvalidInputError(f"cell {i} must be a table of settings, got {shown(cell)}")
            try:
                found = complete({name: spelled(name, value) for name, value in {**fixed, **cell}.items()})
            except InvalidInputError as error:
                raise InvalidInputError(f"cell {i}: {error}") from error
            text = json.dumps(found)
            if text in seen:
                raise InvalidInputError(
                    f"cells {seen[text]} and {i} have the same settings; leave one out, and set repeats for "
                    "several networks of one kind"
                )
            seen[text] = i
            self.cells.append(found)
        if not self.cells:
            raise InvalidInputError("the plan lists no cells")

    @property
    def size(self) -> int:
        """How many settings there are."""
        return len(self.cells)

    def __iter__(self) -> Iterator[Settings]:
        return iter(self.cells)

    def to_dict(self) -> dict[str, Any]:
        """The list ``cells`` of a plan."""
        return {"cells": self.cells}


@dataclass(frozen=True)
class Range:
    """Numbers drawn uniformly between two ends, or with a uniform logarithm; whole where the setting is."""

    low: float
    high: float
    log: bool
    is_whole: bool

    @classmethod
    def read(cls, name: str, table: Mapping[str, Any]) -> Range:
        """Read ``{low, high, log}``.

        Raises:
            InvalidInputError: an end is missing or out of range, or the setting is no number.
        """
        if name in ("activation", "scaling", "path") or set(table) - {"log"} != {"low", "high"}:
            raise InvalidInputError(
                f"draw.{name} must be a list to choose from{', or {low, high, log} for a number'}, "
                f"got {shown(dict(table))}"
            )
        low, high, log = spelled(name, table["low"]), spelled(name, table["high"]), table.get("log", False)
        if isinstance(low, list) or isinstance(high, list) or not low < high or not isinstance(log, bool):
            raise InvalidInputError(
                f"draw.{name} needs numbers low < high and log true or false, got {shown(dict(table))}"
            )
        if log and not low > 0:
            raise InvalidInputError(f"draw.{name} is drawn with a uniform logarithm, so low must be > 0, got {low}")
        return cls(low, high, log, isinstance(low, int))

    def draw(self, generator: np.random.Generator) -> float | int:
        """One number."""
        # Whole numbers from low to high have equal shares: the interval reaches half a step beyond both.
        low, high = (self.low - 0.5, self.high + 0.5) if self.is_whole else (self.low, self.high)
        place = generator.random()
        value = low * (high / low) ** place if self.log else low + (high - low) * place
        if not self.is_whole:
            return min(max(float(value), self.low), self.high)
        return min(max(round(value), int(self.low)), int(self.high))

    def to_dict(self) -> dict[str, Any]:
        """The table that `read` reads."""
        return {"low": self.low, "high": self.high, "log": self.log}


class Draw:
    """Settings drawn at random, each from a list or a range; drawing more leaves the first ones as they were.

    Every draw is a cell of its own (its settings carry the number ``draw``), even where values coincide.

    Raises:
        InvalidInputError: the number of cells, a list or a range is unusable.
    """

    def __init__(self, table: Mapping[str, Any], fixed: Mapping[str, Any], seed: int) -> None:
        self.count = whole("draw.cells", table.get("cells"))
        self.seed = seed
        self.options: dict[str, list[Any] | Range] = {}
        for name, value in {**fixed, **{k: v for k, v in table.items() if k != "cells"}}.items():
            self.options[name] = Range.read(name, value) if isinstance(value, Mapping) else _spelled_list(name, value)
        self._draw(0)

    @property
    def size(self) -> int:
        """How many settings there are."""
        return self.count

    def __iter__(self) -> Iterator[Settings]:
        return map(self._draw, range(self.count))

    def to_dict(self) -> dict[str, Any]:
        """The table ``draw`` of a plan."""
        options = {name: o.to_dict() if isinstance(o, Range) else o for name, o in self.options.items()}
        return {"draw": {"cells": self.count, **options}}

    def _draw(self, i: int) -> Settings:
        # One generator a setting, seeded by its name, so that a setting added later leaves the others as they were.
        found = {name: self._value(name, options, i) for name, options in self.options.items()}
        return {**complete(found), "draw": i}

    def _value(self, name: str, options: list[Any] | Range, i: int) -> Any:
        if isinstance(options, list) and len(options) == 1:
            return options[0]
        word = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        generator = np.random.default_rng([self.seed, i, word])
        return (
            options.draw(generator) if isinstance(options, Range) else options[int(generator.random() * len(options))]
        )


def _spelled_list(name: str, value: Any) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise InvalidInputError(f"{name} lists no value")
    found = [spelled(name, v) for v in values]
    for i, one in enumerate(found):
        if one in found[:i]:
            raise InvalidInputError(f"{name} lists {one!r} twice; set repeats for several networks of one kind")
    return found
