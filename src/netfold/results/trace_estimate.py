"""`TraceEstimate`: what a long path meets in a network, estimated, as a result that tabulates, plots and saves."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.results.base import Record, Result, Variable, above, measured, plain, variable
from netfold.results.complexity import WatchedLayer
from netfold.results.status import Standing
from netfold.results.trace import Trace

if TYPE_CHECKING:
    import pandas as pd


class Estimated(Record):
    """A number with its confidence interval and what is certainly there."""

    value: float = measured("the estimate")
    low: float = measured("lower end of the confidence interval, never below ``at_least``")
    high: float = measured("its upper end")
    at_least: float = measured("what was seen: a lower bound")

    @property
    def relative_error(self) -> float:
        """The farther end of the interval from the value, over the value."""
        return max(self.high - self.value, self.value - self.low) / self.value if self.value else self.high

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:,.6g}"
        return f"{self.value:,.4g} [{self.low:,.4g}, {self.high:,.4g}]"


class TraceEstimate(Result):
    """Regions, transitions and lengths along a path, each with an interval.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, sigma_b=0.5, seed=0)
        >>> found = nf.estimate_trace(net, nf.Line([-1.0, 0.5], [1.0, 0.5]))
        >>> found.exact, found.regions.value == found.trace.regions
        (True, True)
    """

    FORMAT = "netfold estimates of traces 1"

    estimates: tuple[Estimated, ...] = measured(
        "transitions of every layer, their sign transitions, lengths of every layer's image and of the output's, "
        "regions, transitions of all layers",
        ("quantity",),
    )
    layers: tuple[WatchedLayer, ...] = measured("the nonlinearities, in order", ("layer",))
    input_length: float = measured("Euclidean length of the path itself", (), "units of the input space")
    confidence: float = measured("nominal share of such intervals that hold the true number")
    exact: bool = measured("whether the whole path was followed, so that no number is estimated")
    cells: int = measured("parts into which the path was cut; 0 where all of it was followed")
    rounds: int = measured("how often one of every few cells was looked into; 0 where all of the path was followed")
    evaluations: int = measured("points at which the network was evaluated; a path that is followed takes one a region")
    method: str = measured("how it was estimated")
    status: Standing = measured("``exact``, ``converged``, ``estimated``, or ``not converged`` with what was reached")
    counting_rule: str = measured("which definition of each count was used")
    output_label: str = measured("what tables and pictures call the output", default="output")
    provenance: dict[str, Any] = measured(
        "model, path, seed, versions, time", default_factory=dict, compare=False, repr=False
    )
    trace: Trace | None = field(default=None, compare=False, repr=False)

    plot = above("netfold.plots.traces:estimated")

    @property
    def transitions(self) -> tuple[Estimated, ...]:
        """State switches, one entry a layer, summed over its units."""
        return self.estimates[: len(self.layers)]

    @property
    def sign_transitions(self) -> tuple[Estimated, ...]:
        """Crossings of 0 by a pre-activation, one entry a layer."""
        return self.estimates[len(self.layers) : 2 * len(self.layers)]

    @property
    def lengths(self) -> tuple[Estimated, ...]:
        """Length of the input path, of its image after every layer, and of the output."""
        return Estimated(*[self.input_length] * 4), *self.estimates[2 * len(self.layers) : -2]

    @property
    def regions(self) -> Estimated:
        """Activation regions crossed."""
        return self.estimates[-2]

    @property
    def all_transitions(self) -> Estimated:
        """State switches of all layers."""
        return self.estimates[-1]

    @property
    def labels(self) -> list[str]:
        """What tables and pictures call the input, the layers and the output."""
        return ["input", *(layer.label for layer in self.layers), self.output_label]

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer, in order, between a row for the input path and one for the output.

        Columns: ``layer`` (0 is the input), ``name``, ``label``, ``op``, ``units``; ``transitions``,
        ``sign_transitions`` and ``length``, each followed by its ``_low``, ``_high`` and ``_at_least``.

        Returns:
            The table.
        """
        import pandas as pd

        names, ops = ([getattr(layer, what) for layer in self.layers] for what in ("name", "op"))
        frame = pd.DataFrame({"layer": range(len(names) + 2), "name": ["input", *names, "output"]})
        frame["label"], frame["op"] = self.labels, ["", *ops, ""]
        frame["units"] = pd.Series([None, *(layer.units for layer in self.layers), None], dtype="Int64")
        missing = Estimated(*[np.nan] * 4)
        for name in ("transitions", "sign_transitions", "length"):
            rows = self.lengths if name == "length" else (missing, *getattr(self, name), missing)
            for what, suffix in (("value", ""), ("low", "_low"), ("high", "_high"), ("at_least", "_at_least")):
                frame[name + suffix] = [getattr(row, what) for row in rows]
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Regions and transitions, one entry a layer, and how they were found, for JSON."""
        table = self.to_dataframe().astype(object)
        words = ("confidence", "exact", "cells", "rounds", "evaluations", "method", "status", "counting_rule")
        return plain(
            {
                "regions": self.regions,
                "transitions": self.all_transitions,
                "by_layer": table.where(table.notna(), None).to_dict(orient="records"),
                **{name: getattr(self, name) for name in (*words, "provenance")},
            }
        )

    def _more(self) -> dict[str, Variable]:
        kinds = ["transitions"] * len(self.layers) + ["sign_transitions"] * len(self.layers)
        kinds += ["length"] * (len(self.layers) + 1) + ["regions", "transitions of all layers"]
        number = np.arange(1, len(self.layers) + 1)
        return {
            "layer": variable(number, "number of the layer, from 1", ("layer",), coordinate=True),
            "quantity": variable(kinds, "what is estimated", ("quantity",), coordinate=True),
        }

    def __repr__(self) -> str:
        what = f" of {self.provenance['model']}" if "model" in self.provenance else ""
        percent = f", {100 * self.confidence:g}% intervals" if not self.exact else ""
        lines = [
            f"TraceEstimate{what}: {self.regions} regions; {self.all_transitions} transitions ({self.status}{percent})"
        ]
        rows = self.to_dataframe()
        width = max(len(name) for name in rows["label"])
        lines.append(f"  {'layer':<{width}}  {'op':<12} {'transitions':>32}  {'length':>32}")
        between = [""] + [str(one) for one in self.transitions] + [""]
        shown = list(zip(rows["label"], rows["op"], between, map(str, self.lengths), strict=True))
        cut = shown if len(shown) <= 42 else [*shown[:21], shown[-1]]
        lines += [f"  {name:<{width}}  {op:<12} {moves:>32}  {length:>32}" for name, op, moves, length in cut]
        if len(cut) < len(shown):
            lines.insert(-1, f"  ... {len(shown) - len(cut)} more layers: see to_dataframe()")
        return "\n".join([*lines, f"counted: {self.counting_rule}"])
