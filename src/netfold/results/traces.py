"""`Traces`: many paths through one network, and what they say on average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import checked, require, sequence
from netfold.errors import InvalidInputError
from netfold.results.base import Saved, Variable, above, counted, dataset, declared, plain, variable
from netfold.results.intervals import estimate
from netfold.results.trace import Trace

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

MEASURES = ("length", "growth", "transitions", "regions")
"""What `Traces.summary` summarises, layer by layer."""

RAGGED = ("breakpoint", "class_change", "stretch", "gate")
"""Dimensions of which every path has a length of its own."""


class Traces(Saved, Sequence[Trace]):
    """Traces of several paths through one network, in order; a sequence that cannot be changed.

    Args:
        traces: at least one trace; all of the same network.

    Raises:
        InvalidInputError: no traces, or traces of different networks.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=1, activation="relu", seed=0)
        >>> traces = nf.trace_paths(net, [nf.Line([0.0, -1.0], [0.0, 1.0]), nf.Line([1.0, 1.0], [-1.0, 1.0])])
        >>> len(traces), len(traces[:1])
        (2, 1)
        >>> summary = traces.summary()
        >>> summary[summary["measure"] == "growth"]["name"].tolist()
        ['act1', 'act2', 'output']
    """

    FORMAT = Trace.FORMAT

    plot = above("netfold.plots.traces:of_layers")
    compare = above("netfold.comparison.compare:compare")

    def __init__(self, traces: Iterable[Trace]) -> None:
        self._traces = require(tuple[Trace, ...], tuple(sequence(traces, "traces")), "traces")
        if not self._traces:
            raise InvalidInputError("a Traces needs at least one trace, got none")
        _require_one_network(self._traces)

    def __len__(self) -> int:
        return len(self._traces)

    @overload
    def __getitem__(self, index: int) -> Trace: ...
    @overload
    def __getitem__(self, index: slice) -> Traces: ...
    def __getitem__(self, index: int | slice) -> Trace | Traces:
        """One trace, or the traces of a slice."""
        return Traces(self._traces[index]) if isinstance(index, slice) else self._traces[index]

    def __iter__(self) -> Iterator[Trace]:
        return iter(self._traces)

    def __eq__(self, other: object) -> bool:
        """Whether every measured value of every trace is the same."""
        return self._traces == other._traces if isinstance(other, Traces) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._traces)

    @checked
    def values(self, measure: str) -> NDArray[np.float64]:
        """One measure for every path and stage.

        Args:
            measure: ``length``: of the input path, every layer's image and the output, shape
                ``(paths, layers + 2)``; ``growth``: ratio to the length before, for every layer and the
                output, ``(paths, layers + 1)`` (NaN where both are 0); ``transitions``: state switches in
                every layer, ``(paths, layers)``; ``regions``: of the network cut off after every layer,
                ``(paths, layers)``.

        Returns:
            The values.

        Raises:
            InvalidInputError: another measure.
        """
        if measure == "length":
            return np.stack([trace.lengths for trace in self])
        if measure == "growth":
            lengths = self.values("length")
            with np.errstate(divide="ignore", invalid="ignore"):
                return lengths[:, 1:] / lengths[:, :-1]
        if measure in ("transitions", "regions"):
            name = "transitions" if measure == "transitions" else "regions_by_layer"
            return np.stack([getattr(trace, name) for trace in self]).astype(np.float64)
        raise InvalidInputError(f"no measure {measure!r}; choose one of {', '.join(MEASURES)}")

    def summary(self) -> pd.DataFrame:
        """Mean, standard error and 95% confidence interval over paths, for every measure and layer.

        Intervals are Student's t: mean ± t(0.975, paths - 1) · standard error. Growth is a ratio, so its mean
        is geometric, its interval is taken on the logarithm, and its standard error is that of the geometric
        mean (mean times the standard error of the logarithm). They describe the spread over *paths* of this
        one network, not over trainings or random weights, and take the paths as independent.

        Returns:
            One row a measure and layer: ``measure``, ``layer`` (0 is the input, layers + 1 the output),
            ``name``, ``label``, ``mean``, ``standard_error``, ``low``, ``high``, ``paths`` (how many had a value). With
            one path there is no error and no interval (NaN).
        """
        import pandas as pd

        names, labels = self[0]._stages, self[0].labels
        rows = []
        for measure in MEASURES:
            values = self.values(measure)
            first = 0 if measure == "length" else 1
            for column in range(values.shape[1]):
                layer = column + first
                found = estimate(values[:, column], geometric=measure == "growth")
                rows.append({"measure": measure, "layer": layer, "name": names[layer], "label": labels[layer], **found})
        return pd.DataFrame(rows)

    def to_dataframe(self) -> pd.DataFrame:
        """The tables of all paths (`Trace.to_dataframe`) below each other, with a first column ``path``."""
        import pandas as pd

        tables = [trace.to_dataframe().assign(path=number) for number, trace in enumerate(self)]
        joined = pd.concat(tables, ignore_index=True)
        return joined.reindex(columns=["path", *(column for column in joined if column != "path")])

    def to_dict(self) -> dict[str, Any]:
        """Means and intervals by measure and layer, and every trace (`Trace.to_dict`), for JSON."""
        rows = self.summary().to_dict(orient="records")
        return plain({"paths": len(self), "summary": rows, "traces": [trace.to_dict() for trace in self]})

    def to_xarray(self) -> xr.Dataset:
        """Everything the traces hold, as a dataset that netCDF can store without loss.

        As `Trace.to_xarray` with a first dimension ``path``. Breakpoints of all paths follow each other along
        one dimension, and ``breakpoint_path`` says whose each is; class changes and stretches likewise.

        Returns:
            The dataset.
        """
        each = [{**trace._variables(), **trace._more()} for trace in self]
        found = {name: _stacked([own[name] for own in each]) for name in each[0]}
        for dim in RAGGED:
            name = next(name for name, (_, what) in each[0].items() if what.dims == (dim,))
            sizes = [len(own[name].values) for own in each]
            whose = np.repeat(np.arange(len(self)), sizes)
            found[f"{dim}_path"] = variable(whose, f"path that each {dim} belongs to", (dim,))
        words = [trace._attributes() for trace in self]
        meanings = {one.name: one.quantity.meaning for one in declared(Trace)}
        for name in words[0]:
            found[name] = variable([own[name] for own in words], meanings[name], ("path",))
        return dataset(found, {"format": self.FORMAT})

    @classmethod
    def _of(cls, stored: xr.Dataset) -> Traces:
        if "path" not in stored.dims:
            raise KeyError("it holds a single trace: use Trace.load")
        paths = range(stored.sizes["path"])
        rows: dict[str, Any] = {}
        for name, found in stored.variables.items():
            rows[str(name)] = found.values if "path" in found.dims else [found.values] * len(paths)
            if found.dims and found.dims[0] in RAGGED:
                sizes = np.bincount(stored[f"{found.dims[0]}_path"].values.astype(np.int64), minlength=len(paths))
                rows[str(name)] = np.split(found.values, np.cumsum(sizes)[:-1])
        return cls(Trace._read({name: values[path] for name, values in rows.items()}) for path in paths)

    def _shown(self) -> pd.DataFrame:
        return self.summary()

    @property
    def counting_rule(self) -> str:
        """Which definition of each count was used."""
        return self[0].counting_rule

    def __repr__(self) -> str:
        regions = np.array([trace.regions for trace in self])
        layers = counted(len(self[0].layers), "nonlinear layer")
        model = self[0].provenance.get("model")
        return (
            f"Traces: {counted(len(self), 'path')} through {f'{model}, ' if model else ''}{layers}; "
            f"{regions.mean():.4g} regions a path on average ({regions.min():,} to {regions.max():,})"
        )


def _stacked(each: Sequence[Variable]) -> Variable:
    """One variable of all traces; what labels a dimension is the same in all, and ragged rows follow each other."""
    what, values = each[0].quantity, [found.values for found in each]
    if what.coordinate:
        return each[0]
    if what.dims and what.dims[0] in RAGGED:
        return Variable(np.concatenate(values), what)
    return Variable(np.stack(values), what._replace(dims=("path", *(what.dims or ()))))


def _require_one_network(traces: Sequence[Trace]) -> None:
    """Refuse traces of different networks.

    Raises:
        InvalidInputError: layers or outputs differ.
    """
    kinds = {
        (tuple((r.name, r.op, r.units) for r in trace.layers), trace.output.size, len(trace.error)) for trace in traces
    }
    if len(kinds) > 1:
        raise InvalidInputError(
            f"these traces come from {len(kinds)} different networks (their layers or outputs differ); keep "
            "the traces of each network in a Traces of their own"
        )
