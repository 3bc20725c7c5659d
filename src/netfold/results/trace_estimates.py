"""`TraceEstimates`: many paths through one network that were too long to follow, and what they say on average."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from netfold.errors import InvalidInputError
from netfold.results.base import Tabular
from netfold.results.intervals import estimate
from netfold.results.trace_estimate import TraceEstimate

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("length", "growth", "transitions")


class TraceEstimates(Tabular, Sequence[TraceEstimate]):
    """Estimates along several paths through one network, in order.

    Each is unbiased, so their mean is; the spread over paths holds what they miss at random.
    """

    def __init__(self, estimates: Sequence[TraceEstimate]) -> None:
        if not len(estimates):
            raise InvalidInputError("a TraceEstimates needs at least one estimate, got none")
        self._estimates = tuple(estimates)

    def __len__(self) -> int:
        return len(self._estimates)

    @overload
    def __getitem__(self, index: int) -> TraceEstimate: ...
    @overload
    def __getitem__(self, index: slice) -> TraceEstimates: ...
    def __getitem__(self, index: int | slice) -> TraceEstimate | TraceEstimates:
        """One estimate, or those of a slice."""
        return TraceEstimates(self._estimates[index]) if isinstance(index, slice) else self._estimates[index]

    def __iter__(self) -> Iterator[TraceEstimate]:
        return iter(self._estimates)

    def values(self, measure: str) -> NDArray[np.float64]:
        """One measure for every path and stage, as `Traces.values` gives it.

        Raises:
            InvalidInputError: another measure.
        """
        if measure not in MEASURES:
            raise InvalidInputError(f"no measure {measure!r}; choose one of {', '.join(MEASURES)}")
        if measure == "transitions":
            return np.array([[one.value for one in found.transitions] for found in self])
        lengths = np.array([[one.value for one in found.lengths] for found in self])
        if measure == "length":
            return lengths
        with np.errstate(divide="ignore", invalid="ignore"):
            return lengths[:, 1:] / lengths[:, :-1]

    def summary(self) -> pd.DataFrame:
        """Mean, standard error and 95% confidence interval over paths, for every measure and layer."""
        import pandas as pd

        names = ["input", *(layer.name for layer in self[0].layers), "output"]
        rows = []
        for measure in MEASURES:
            values = self.values(measure)
            for column in range(values.shape[1]):
                layer = column + (measure != "length")
                found = estimate(values[:, column], geometric=measure == "growth")
                rows.append({"measure": measure, "layer": layer, "name": names[layer], **found})
        return pd.DataFrame(rows)

    def to_dataframe(self) -> pd.DataFrame:
        """The tables of all paths below each other, with a first column ``path``."""
        import pandas as pd

        tables = [found.to_dataframe().assign(path=number) for number, found in enumerate(self)]
        joined = pd.concat(tables, ignore_index=True)
        return joined.reindex(columns=["path", *(column for column in joined if column != "path")])

    @property
    def counting_rule(self) -> str:
        """Which definition of each count was used."""
        return self[0].counting_rule
