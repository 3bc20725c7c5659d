"""All bounds of one architecture side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netfold.arguments import checked, whole
from netfold.errors import InvalidInputError
from netfold.results.base import Tabular, above
from netfold.theory.bounds._arora2018 import arora2018
from netfold.theory.bounds._bound import Bound, Expectation
from netfold.theory.bounds._hanin_rolnick2019 import hanin_rolnick2019
from netfold.theory.bounds._hinz2019 import hinz2019
from netfold.theory.bounds._montufar2014 import montufar2014, montufar2014_maxout
from netfold.theory.bounds._montufar2017 import montufar2017
from netfold.theory.bounds._montufar2022 import montufar2022_maxout_lower, montufar2022_maxout_upper
from netfold.theory.bounds._pascanu2013 import pascanu2013
from netfold.theory.bounds._raghu2017 import raghu2017
from netfold.theory.bounds._serra2018 import serra2018_lower, serra2018_maxout, serra2018_upper
from netfold.theory.bounds._shape import RELU, Unit, positive, shape_of, unit_of

if TYPE_CHECKING:
    import pandas as pd

Call = Callable[[int, tuple[int, ...]], Bound | Expectation]


DIGITS = 4000
"""Longer integers are left out of JSON; their log10 stays."""


@dataclass(frozen=True)
class Row:
    """One bound of a table.

    Attributes:
        name: of the function that gave it.
        bound: the number, or None where the theorem does not apply.
        note: why it does not apply.
    """

    name: str
    bound: Bound | Expectation | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The number and its statement, for JSON; or why there is none."""
        bound = self.bound
        if bound is None:
            return {"name": self.name, "none_because": self.note}
        value: Any = int(bound) if isinstance(bound, int) and bound.log10 < DIGITS else None
        return {
            "name": self.name,
            "value": float(bound) if isinstance(bound, float) else value,
            "log10": bound.log10,
            "kind": bound.kind.name.lower(),
            "counts": bound.counts,
            "source": bound.source,
            "assumes": bound.assumes,
        }


class TableRows(Tabular):
    """What tables of bounds share."""

    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """The bounds, for JSON."""
        return {"bounds": [row.to_dict() for row in self.rows]}

    @property
    def upper(self) -> Bound:
        """The smallest upper bound on every network of this shape."""
        return min(row.bound for row in self.rows if isinstance(row.bound, Bound) and row.bound.kind.is_upper)

    @property
    def lower(self) -> Bound | None:
        """The largest lower bound on the maximum over weights, or None where no theorem applies."""
        bounds = [row.bound for row in self.rows if isinstance(row.bound, Bound) and row.bound.kind.is_lower]
        return max(bounds, default=None)

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each bound: name, exact value, log10, kind, what is counted, source, assumptions.

        Values are Python integers (floats for expectations); None where a theorem does not apply, and then
        ``assumes`` says why.
        """
        import pandas as pd

        columns = ["bound", "value", "log10", "kind", "counts", "source", "assumes"]
        records = zip(*(_record(row) for row in self.rows), strict=True)
        # An object column each but for log10: exact integers must not become floats.
        return pd.DataFrame(
            {name: pd.Series(list(record), dtype=object) for name, record in zip(columns, records, strict=True)}
        ).astype({"log10": float})

    def to_text(self) -> str:
        """The table in words: a line for each bound that applies, what it assumes, and why the others do not."""
        given = [(row.name, row.bound) for row in self.rows if row.bound is not None]
        cells = [(name, str(bound), bound.counts, bound.kind.value.split(":")[0]) for name, bound in given]
        reasons: dict[str, list[str]] = {}
        for row in self.rows:
            if row.bound is None:
                reasons.setdefault(row.note, []).append(row.name)
        text = _aligned([("bound", "value", "of", "kind"), *cells])
        assumed = [f"assumes, {name}: {bound.assumes}" for name, bound in given if bound.assumes]
        silent = [f"does not apply: {', '.join(names)}: {why}" for why, names in reasons.items()]
        return "\n".join([text, *assumed, *silent])


@dataclass(frozen=True, repr=False)
class BoundsTable(TableRows):
    """What the theorems say about one architecture.

    Attributes:
        inputs: input dimension.
        widths: units of each hidden layer.
        unit: what the units are; of no account in a maxout network.
        rank: of maxout units; None for other networks.
        rows: one for each bound.
    """

    inputs: int
    widths: tuple[int, ...]
    unit: Unit
    rank: int | None
    rows: tuple[Row, ...]

    plot = above("netfold.plots.bounds:table")

    @property
    def units(self) -> str:
        """What the units are, in words."""
        return self.unit.name if self.rank is None else f"rank-{self.rank} maxout"

    def first(self, layers: int) -> BoundsTable:
        """The table of the first layers alone."""
        return table(self.inputs, self.widths[: whole(layers, "layers")], self.unit, self.rank)

    def __repr__(self) -> str:
        head = f"{self.inputs} inputs, {self.units} widths {' '.join(map(str, self.widths))}"
        return f"{head}\n{self.to_text()}"


@checked
def table(inputs: int, widths: Iterable[int], activation: str | Unit = "relu", rank: int | None = None) -> BoundsTable:
    """Every bound that applies to an architecture, each with what it bounds and what it counts.

    Args:
        inputs: input dimension.
        widths: units of each hidden layer.
        activation: its name (``bounds.UNITS``) or a `bounds.Unit`.
        rank: of maxout units; the table is then that of a maxout network, whatever the activation.

    Returns:
        A `BoundsTable`. The row ``hanin_rolnick2019`` is an average over He-initialised weights with unit
        biases, in a unit cube; all others speak of the whole input space.

    Raises:
        InvalidInputError: a number is no positive integer, or the activation is unknown.

    Example:
        >>> from netfold.theory import bounds
        >>> table = bounds.table(2, [10, 10, 10])
        >>> int(table.upper), int(table.lower)
        (175616, 72576)
        >>> table.to_dataframe().set_index("bound").value["montufar2014"] == 35000
        True
        >>> bounds.table(2, [4, 4], activation="hardtanh")
        2 inputs, hardtanh widths 4 4
        bound                value  of                  kind
        hinz2019 (naive)      6561  activation regions  upper bound
        raghu2017             1089  activation regions  upper bound
        montufar2017          1089  activation regions  upper bound
        hinz2019 (binomial)   1089  activation regions  upper bound
    """
    inputs, widths = shape_of(inputs, widths)
    unit = unit_of(activation)
    calls = _relu_or_other(unit) if rank is None else _maxout(positive(rank, "rank", 2))
    rows = tuple(_row(name, call, inputs, widths) for name, call in calls.items())
    return BoundsTable(inputs, widths, unit, rank, rows)


def _relu_or_other(unit: Unit) -> dict[str, Call]:
    calls: dict[str, Call] = {
        "hinz2019 (naive)": lambda m, widths: hinz2019(m, widths, "naive", unit),
        "raghu2017": lambda m, widths: raghu2017(m, widths, unit),
        "montufar2017": lambda m, widths: montufar2017(m, widths, unit),
    }
    if unit == RELU:
        return calls | {
            "serra2018_upper": serra2018_upper,
            "serra2018_lower": serra2018_lower,
            "montufar2014": montufar2014,
            "pascanu2013": pascanu2013,
            "arora2018": arora2018,
            "hanin_rolnick2019": lambda m, widths: hanin_rolnick2019(m, widths, form="corner"),
        }
    if unit.collapses:
        calls["hinz2019 (binomial)"] = lambda m, widths: hinz2019(m, widths, "binomial", unit)
    return calls


def _maxout(rank: int) -> dict[str, Call]:
    return {
        "serra2018_maxout": lambda m, widths: serra2018_maxout(m, widths, rank),
        "montufar2022_maxout_upper": lambda m, widths: montufar2022_maxout_upper(m, widths, rank),
        "montufar2022_maxout_lower": lambda m, widths: montufar2022_maxout_lower(m, widths, rank),
        "montufar2014_maxout": lambda m, widths: montufar2014_maxout(m, widths, rank),
    }


def _row(name: str, call: Call, inputs: int, widths: tuple[int, ...]) -> Row:
    try:
        return Row(name, call(inputs, widths))
    except InvalidInputError as error:  # the shape is checked: only a theorem's own condition is left
        return Row(name, None, str(error))


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns of text, the second one (the numbers) flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{'>' if i == 1 else '<'}{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _record(row: Row) -> tuple[object, ...]:
    bound = row.bound
    if bound is None:
        return row.name, None, float("nan"), None, None, None, f"does not apply: {row.note}"
    value = float(bound) if isinstance(bound, Expectation) else int(bound)
    return row.name, value, bound.log10, bound.kind.value, bound.counts, bound.source, bound.assumes
