"""`History`: measures over training steps, as a table, a dataset and a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import checked, shown
from netfold.errors import InvalidInputError
from netfold.results.base import Saved, above, counted, plain, same

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(eq=False)
class History(Saved):
    """Numbers by name, at training steps; a measure that is missing at a step is NaN there.

    Attributes:
        steps: the steps, increasing.
        records: the numbers at each of them.
        missed: steps at which nothing was measured, with the reason.

    Example:
        >>> history = History()
        >>> history.add(0, {"regions": 3.0})
        >>> history.add(10, {"regions": 5.0, "length/act1": 1.5})
        >>> history["regions"].tolist(), history.names
        ([3.0, 5.0], ['regions', 'length/act1'])
    """

    FORMAT = "netfold history 1"

    plot = above("netfold.plots.training:history")

    steps: list[int] = field(default_factory=list)
    records: list[dict[str, float]] = field(default_factory=list)
    missed: dict[int, str] = field(default_factory=dict)

    @checked
    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a step; from this step on, what was there before is dropped (training went back to a checkpoint)."""
        try:
            record = {str(name): float(value) for name, value in values.items()}
        except (TypeError, ValueError, OverflowError):
            raise InvalidInputError(f"values must be numbers by name, got {shown(dict(values))}") from None
        keep = [i for i, s in enumerate(self.steps) if s < step]
        self.steps = [self.steps[i] for i in keep] + [int(step)]
        self.records = [self.records[i] for i in keep] + [record]

    @property
    def names(self) -> list[str]:
        """All names, in the order in which they first came."""
        return list(dict.fromkeys(name for record in self.records for name in record))

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """One measure at all steps."""
        if name not in self.names:
            raise InvalidInputError(f"the history has no {name!r}; it has {', '.join(self.names)}")
        return np.array([record.get(name, math.nan) for record in self.records])

    def __len__(self) -> int:
        """How many steps were measured."""
        return len(self.steps)

    def __eq__(self, other: object) -> bool:
        """Whether every number at every step is the same; one that is missing is NaN."""
        if not isinstance(other, History):
            return NotImplemented
        one, two = ({name: found[name] for name in found.names} for found in (self, other))
        return (self.steps, self.missed) == (other.steps, other.missed) and same(one, two)

    def __repr__(self) -> str:
        steps = f", from step {self.steps[0]:,} to {self.steps[-1]:,}" if self.steps else ""
        lines = [f"History: {counted(len(self), 'measurement')} of {counted(len(self.names), 'number')}{steps}"]
        last = list(self.records[-1].items()) if self.records else []
        lines += [f"  {name}: {value:.4g}" for name, value in last[:30]]
        lines += [f"  ... {len(last) - 30} more: see to_dataframe()"] if len(last) > 30 else []
        return "\n".join([*lines, *([f"missed: {counted(len(self.missed), 'step')}"] if self.missed else [])])

    __hash__ = None  # pyright: ignore[reportAssignmentType]  it grows

    def to_dict(self) -> dict[str, Any]:
        """The steps with their numbers, for JSON."""
        return {"steps": [{"step": step, **plain(found)} for step, found in zip(self.steps, self.records, strict=True)]}

    def to_dataframe(self) -> pd.DataFrame:
        """One row a step, one column a measure."""
        import pandas as pd

        return pd.DataFrame(self.records, index=pd.Index(self.steps, name="step"), columns=self.names)

    def to_xarray(self) -> xr.Dataset:
        """One variable a group with the dimensions ``step`` and, where it has parts, ``<group>_part``."""
        import xarray as xr

        data: dict[str, Any] = {}
        coordinates: dict[str, Any] = {"step": self.steps}
        for group, parts in self.groups.items():
            if parts == [""]:
                data[group] = ("step", self[group])
                continue
            data[group] = (("step", f"{group}_part"), np.stack([self[f"{group}/{p}"] for p in parts], 1))
            coordinates[f"{group}_part"] = parts
        missed = json.dumps({str(step): why for step, why in self.missed.items()})
        return xr.Dataset(data, coordinates, {"format": self.FORMAT, "missed": missed})

    @classmethod
    def _of(cls, stored: xr.Dataset) -> History:
        columns: dict[str, NDArray[Any]] = {}
        for group in map(str, stored.data_vars):
            values = stored[group]
            if values.ndim == 1:
                columns[group] = values.values
            else:
                parts = stored[f"{group}_part"].values.tolist()
                columns |= {f"{group}/{part}": values.values[:, i] for i, part in enumerate(parts)}
        steps = [int(step) for step in stored["step"].values]
        missed = {int(step): why for step, why in json.loads(stored.attrs["missed"]).items()}
        return cls(steps, [{k: float(v[i]) for k, v in columns.items()} for i in range(len(steps))], missed)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The parts of every group of measures, in order; a measure of the whole network has the part ``""``."""
        groups: dict[str, list[str]] = {}
        for name in self.names:
            group, _, part = name.partition("/")
            groups.setdefault(group, []).append(part)
        return groups
