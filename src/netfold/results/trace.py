"""`Trace`: what a path meets on its way through a network, as a result that tabulates, plots and saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.results.base import Record, Result, Variable, above, counted, measured, plain, variable
from netfold.results.status import Standing

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

COUNTS = ("transitions", "sign_transitions", "saturation_passages")
"""What is counted in a layer."""


class LayerRecord(Record):
    """What one nonlinearity does to a path."""

    name: str = measured("module path of the nonlinearity", coordinate=True)
    op: str = measured("its operation", coordinate=True)
    units: int = measured("how many units it has", coordinate=True)
    label: str = measured(
        "what tables and pictures call it: the weights that lead to it, and its name", coordinate=True
    )
    transitions: int = measured("state switches along the path, summed over units")
    sign_transitions: int = measured(
        "pre-activations crossing 0, summed over units (0 for max pooling, whose units have no pre-activation)"
    )
    saturation_passages: int = measured("passages from one saturated state to the other, summed over units")
    length: float = measured("Euclidean length of the path's image after the layer", unit="units of the layer's space")
    growth: float = measured("length over the length before the layer (of the input path for the first)")
    angular_length: float = measured("length of the image projected on the unit sphere", unit="rad")
    turning: float = measured("total absolute turning angle of the image (its total curvature)", unit="rad")


class OutputRecord(Record):
    """What the path's image does in the network's output."""

    size: int = measured("number of outputs", told_by=lambda stored: len(stored["sign_changes"]))
    length: float = measured(
        "Euclidean length of the output's image", (), "units of the output space", name="output_length"
    )
    angular_length: float = measured(
        "length of the output's image on the unit sphere", (), "rad", name="output_angular_length"
    )
    turning: float = measured("total absolute turning angle of the output's image", (), "rad", name="output_turning")
    class_changes: NDArray[np.float64] = measured(
        "path parameters t where the largest output changes; for one output, where its sign changes",
        ("class_change",),
    )
    classes: NDArray[np.int64] = measured(
        "class on each stretch between them (number of the largest output; 0 or 1 for one output)", ("stretch",)
    )
    sign_changes: NDArray[np.int64] = measured("how often each output changes its sign", ("output",))


class Trace(Result):
    """The regions, transitions and lengths that a path meets in a network.

    Two traces are equal when every measured value is; provenance (which holds the time) is not compared.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", seed=0)
        >>> trace = nf.trace_path(net, nf.Line([-1.0, 0.5], [1.0, 0.5]))
        >>> trace.regions == len(trace.breakpoints) + 1
        True
        >>> trace.to_dataframe()["name"].tolist()
        ['input', 'act1', 'act2', 'output']
    """

    FORMAT = "netfold traces 1"

    regions: int = measured("activation regions crossed, breakpoints + 1", ())
    patterns: int = measured(
        "distinct activation patterns met; on a straight line as many as regions, since the points of a pattern are a "
        "convex set and the line never comes back to one",
        (),
    )
    linear_pieces: int = measured(
        "maximal pieces of the path on which the output is one affine (on arcs: harmonic) function", ()
    )
    breakpoints: NDArray[np.float64] = measured(
        "increasing path parameters t in (0, 1) where a unit changes its state", ("breakpoint",)
    )
    breakpoint_layers: NDArray[np.int64] = measured(
        "for each breakpoint, the first layer in which a unit changes there, from 0", ("breakpoint",)
    )
    layers: tuple[LayerRecord, ...] = measured("one record a nonlinearity, in order", ("layer",))
    output: OutputRecord = measured("what happens to the output")
    input_length: float = measured("Euclidean length of the path itself", (), "units of the input space")
    method: str = measured(
        "``exact``, ``sampled``, or ``exact, then sampled`` where only what is last is not piecewise linear"
    )
    error: NDArray[np.float64] = measured(
        "estimated absolute error of each of ``lengths`` (rounding alone where exact)",
        ("stage",),
        "units of the stage's space",
    )
    status: Standing = measured(
        "``exact``, ``converged``, ``not converged`` or ``followed in part``, and why; its ``kind`` for programs"
    )
    margin: float = measured("how close the closest sign decision was, as a multiple of its own scale", ())
    counting_rule: str = measured("which definition of each count was used")
    output_label: str = measured("what tables and pictures call the output", default="output")
    doubtful: int | None = measured(
        "places on the path where float64 cannot prove what a unit does; None (stored as -1) without ``certify=True`` "
        "where rounding decided nothing",
        (),
        default=None,
    )
    resolved: int | None = measured(
        "those among them that higher precision or rational arithmetic decided", (), default=None
    )
    uncertain: int | None = measured(
        "those that stay open, so that the counts are proven where this is 0; on arcs all of them", (), default=None
    )
    covered: float = measured(
        "path parameter up to which the path was followed, 1 where that is all of it; every number is of that part",
        (),
        default=1.0,
    )
    gate_layers: NDArray[np.int64] = measured(
        "number of the layer of every row of the table of gates, from 0; there is one where a path is sampled with "
        "``certify=True``",
        ("gate",),
        default_factory=lambda: np.empty(0, np.int64),
    )
    gate_tokens: NDArray[np.int64] = measured(
        "token of every row of the table of gates, from 0; -1 for the whole layer",
        ("gate",),
        default_factory=lambda: np.empty(0, np.int64),
    )
    gate_switches: NDArray[np.int64] = measured(
        "sign switches found of the gates of that layer and token",
        ("gate",),
        default_factory=lambda: np.empty(0, np.int64),
    )
    gate_certified: NDArray[np.float64] = measured(
        "share of t on which no switch of one of these gates can have been missed",
        ("gate",),
        default_factory=lambda: np.empty(0),
    )
    certified: float = measured(
        "share of t on which no switch of any gate of the network can have been missed; 0 where none was certified",
        (),
        default=0.0,
    )
    uncertified: str = measured(
        "why nothing is certified of some gates: an operation without an enclosure, or a budget; else empty",
        default="",
    )
    provenance: dict[str, Any] = measured(
        "model, path, versions, seed, number type, time", default_factory=dict, compare=False
    )

    plot = above("netfold.plots.traces:breakpoints")
    compare = above("netfold.comparison.compare:compare")

    @property
    def transitions(self) -> NDArray[np.int64]:
        """State switches, one entry a layer, summed over its units."""
        return np.array([layer.transitions for layer in self.layers], np.int64)

    @property
    def sign_transitions(self) -> NDArray[np.int64]:
        """Crossings of 0 by a pre-activation, one entry a layer, summed over its units."""
        return np.array([layer.sign_transitions for layer in self.layers], np.int64)

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Length of the input path, of its image after every layer, and of the output."""
        return np.array([self.input_length, *(layer.length for layer in self.layers), self.output.length])

    @property
    def growth(self) -> NDArray[np.float64]:
        """Ratio of each layer's length to the length before it."""
        return np.array([layer.growth for layer in self.layers])

    @property
    def regions_by_layer(self) -> NDArray[np.int64]:
        """Activation regions of the network cut off after each layer, one entry a layer."""
        new = np.bincount(self.breakpoint_layers, minlength=len(self.layers))
        return 1 + np.cumsum(new).astype(np.int64)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer, in order, between a row for the input path and one for the output.

        Columns: ``layer`` (0 is the input), ``name``, ``label`` (the weights that lead to it, and its name: the
        same in every table of this network), ``op``, ``units``; the counts ``transitions``,
        ``sign_transitions`` (for the output: sign changes, summed over outputs) and ``saturation_passages``;
        ``regions`` of the network cut off after the layer; ``length`` and its ``error`` in units of the
        layer's space; ``growth``, the ratio to the length before; ``angular_length`` and ``turning`` in
        radians. A cell that has no meaning, such as the transitions of the input, is missing.

        Returns:
            The table.
        """
        import pandas as pd

        def whole(first: int | None, name: str, last: int | None) -> pd.Series:
            return pd.Series([first, *(getattr(layer, name) for layer in self.layers), last], dtype="Int64")

        frame = pd.DataFrame({"layer": range(len(self.layers) + 2), "name": self._stages})
        frame["label"] = self.labels
        frame["op"] = ["", *(layer.op for layer in self.layers), ""]
        frame["units"] = whole(None, "units", self.output.size)
        signs = int(self.output.sign_changes.sum())
        for count in COUNTS:
            frame[count] = whole(None, count, signs if count == "sign_transitions" else None)
        frame["regions"] = pd.Series([None, *self.regions_by_layer.tolist(), None], dtype="Int64")
        frame["length"] = self.lengths
        frame["error"] = self.error
        with np.errstate(divide="ignore", invalid="ignore"):
            frame["growth"] = np.append(np.nan, self.lengths[1:] / self.lengths[:-1])
        for angle in ("angular_length", "turning"):
            frame[angle] = [np.nan, *(getattr(layer, angle) for layer in self.layers), getattr(self.output, angle)]
        return frame

    def gates(self) -> pd.DataFrame:
        """Sign switches of GELU, SiLU, SwiGLU, tanh and sigmoid gates by layer and token, and what is certain of them.

        Columns: ``layer`` (from 1, as in `to_dataframe`), ``label``, ``token`` (from 0; missing in the row of the whole
        layer, which comes first), ``switches``: sign switches of the pre-activations found along the path, and
        ``certified``: the share of t on which none of them can have been missed, since on short stretches an enclosure
        of the pre-activation excludes 0, or one of its derivative does and the signs at the ends tell.

        Returns:
            The table; it has no rows without ``certify=True`` on a sampled path.
        """
        import pandas as pd

        token = pd.Series(self.gate_tokens, dtype="Int64")
        return pd.DataFrame(
            {
                "layer": self.gate_layers + 1,
                "label": [self.layers[n].label for n in self.gate_layers],
                "token": token.mask(token < 0),
                "switches": self.gate_switches,
                "certified": self.gate_certified,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Counts, breakpoints, one entry a layer, and what was counted, for JSON; layers are numbered from 1."""
        table, gates = self.to_dataframe().astype(object), self.gates().astype(object)
        return plain(
            {
                **{name: getattr(self, name) for name in ("regions", "patterns", "linear_pieces")},
                "by_layer": table.where(table.notna(), None).to_dict(orient="records"),
                "gates": gates.where(gates.notna(), None).to_dict(orient="records"),
                "certified": self.certified,
                "uncertified": self.uncertified,
                "breakpoints": self.breakpoints,
                "breakpoint_layers": self.breakpoint_layers + 1,
                "class_changes": self.output.class_changes,
                "classes": self.output.classes,
                **{
                    name: getattr(self, name)
                    for name in ("method", "status", "covered", "doubtful", "resolved", "uncertain")
                },
                **{name: getattr(self, name) for name in ("margin", "counting_rule", "provenance")},
            }
        )

    @property
    def labels(self) -> list[str]:
        """What tables and pictures call the input, the layers and the output."""
        return ["input", *(layer.label for layer in self.layers), self.output_label]

    @property
    def _stages(self) -> list[str]:
        return ["input", *(layer.name for layer in self.layers), "output"]

    def _more(self) -> dict[str, Variable]:
        number = np.arange(1, len(self.layers) + 1)
        return {
            "layer": variable(number, "number of the layer, from 1", ("layer",), coordinate=True),
            "stage_name": variable(self._stages, "input, layers, output", ("stage",), coordinate=True),
        }

    @classmethod
    def _of(cls, stored: xr.Dataset) -> Trace:
        if "path" in stored.dims:
            raise KeyError("it holds many traces: use Traces.load")
        return super()._of(stored)

    def __repr__(self) -> str:
        lines = [self._headline()]
        width = max(map(len, self.labels))
        lines.append(f"  {'layer':<{width}}  {'op':<12} {'units':>7} {'transitions':>11} {'length':>11} {'growth':>7}")
        lines.append(f"  {'input':<{width}}  {'':<12} {'':>7} {'':>11} {self.input_length:>11.4g}")
        shown = self.layers if len(self.layers) <= 40 else self.layers[:20]
        lines += [
            f"  {layer.label:<{width}}  {layer.op:<12} {layer.units:>7} {layer.transitions:>11} "
            f"{layer.length:>11.4g} {layer.growth:>7.3g}"
            for layer in shown
        ]
        if len(shown) < len(self.layers):
            lines.append(f"  ... {len(self.layers) - len(shown)} more layers: see to_dataframe()")
        lines.append(
            f"  {self.output_label:<{width}}  {'':<12} {self.output.size:>7} {'':>11} {self.output.length:>11.4g}"
        )
        return "\n".join([*lines, f"counted: {self.counting_rule}"])

    def _headline(self) -> str:
        what = f" of {self.provenance['model']}" if "model" in self.provenance else ""
        part = "" if self.covered == 1.0 else f", t up to {self.covered:.6g}"
        return (
            f"Trace{what}{part}: {counted(self.regions, 'region')}, {counted(self.patterns, 'pattern')}, "
            f"{counted(self.linear_pieces, 'linear piece')}; "
            f"{counted(int(self.transitions.sum()), 'transition')} ({self.status}){self._sure()}"
        )

    def _sure(self) -> str:
        if not len(self.gate_layers):
            return ""
        switches = int(self.gate_switches[self.gate_tokens < 0].sum())
        share = np.floor(1000 * self.certified) / 10
        why = f" ({self.uncertified})" if self.uncertified else ""
        return f"; gates switch {counted(switches, 'time')}, on {share:g}% of the path no switch can be missing{why}"
