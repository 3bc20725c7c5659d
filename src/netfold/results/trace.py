"""`Trace`: what a path meets on its way through a network, as a result that tabulates, plots and saves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

    from netfold.capture import Model
    from netfold.paths import Path
    from netfold.theory import Comparison, Diagnosis, Law


@dataclass(frozen=True)
class LayerRecord:
    """What one nonlinearity does to a path.

    Attributes:
        name: module path of the nonlinearity, and ``op`` the operation.
        units: how many units it has.
        transitions: state switches along the path, summed over units.
        sign_transitions: how often a pre-activation crosses 0, summed over units (0 for max pooling, whose
            units have no pre-activation).
        saturation_passages: passages from one saturated state to the other, summed over units.
        length: Euclidean length of the path's image after this layer.
        growth: ``length`` over the length before this layer (of the input path for the first).
        angular_length: length of the image projected on the unit sphere, in radians.
        turning: total absolute turning angle of the image (its total curvature), in radians.
    """

    name: str
    op: str
    units: int
    transitions: int
    sign_transitions: int
    saturation_passages: int
    length: float
    growth: float
    angular_length: float
    turning: float

    @property
    def label(self) -> str:
        """What a reader calls the layer: its module path, or the operation where that is only a number."""
        return self.op if self.name.isdigit() else self.name


@dataclass(frozen=True, eq=False)
class OutputRecord:
    """What the path's image does in the network's output.

    Attributes:
        size: number of outputs.
        length: Euclidean length of the output's image, ``angular_length`` on the unit sphere, ``turning``
            angle.
        class_changes: parameters t where the largest output changes; for one output, where its sign changes.
        classes: the class on each stretch between them (index of the largest output; 0 or 1 for one output).
        sign_changes: how often each output changes its sign.
    """

    size: int
    length: float
    angular_length: float
    turning: float
    class_changes: NDArray[np.float64]
    classes: NDArray[np.int64]
    sign_changes: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        """Whether every value is the same."""
        return same(self, other) if isinstance(other, OutputRecord) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.size, self.length, len(self.class_changes)))


@dataclass(frozen=True, eq=False)
class Trace:
    """The regions, transitions and lengths that a path meets in a network.

    Two traces are equal when every measured value is; provenance (which holds the time) is not compared.

    Attributes:
        regions: activation regions crossed, breakpoints + 1.
        patterns: distinct activation patterns met; on a straight line as many as regions, since the points of a
            pattern are a convex set and the line never comes back to one.
        linear_pieces: maximal pieces of the path on which the output is one affine (on arcs: harmonic)
            function.
        breakpoints: increasing parameters in (0, 1) where a unit changes its state.
        breakpoint_layers: for each breakpoint, the first layer in which a unit changes there, counted from 0.
        layers: one record a nonlinearity, in order.
        output: what happens to the output.
        input_length: Euclidean length of the path itself.
        method: ``exact`` or ``sampled``.
        error: estimated absolute error of each of ``lengths`` (rounding alone where exact).
        status: ``exact``, ``converged`` or ``not converged``, with the reason.
        margin: how close the closest sign decision was, as a multiple of its own scale.
        doubtful: places on the path where float64 cannot prove what a unit does; None without ``certify=True``.
        resolved: those among them that higher precision or rational arithmetic decided.
        uncertain: those that stay open, so that the counts are proven where this is 0.
        counting_rule: which definition of each count was used.
        provenance: model, path, versions, seed, number type, time.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", seed=0)
        >>> trace = nf.trace_path(net, nf.Line([-1.0, 0.5], [1.0, 0.5]))
        >>> trace.regions == len(trace.breakpoints) + 1
        True
        >>> trace.to_dataframe()["name"].tolist()
        ['input', 'act1', 'act2', 'output']
    """

    regions: int
    patterns: int
    linear_pieces: int
    breakpoints: NDArray[np.float64]
    breakpoint_layers: NDArray[np.int64]
    layers: tuple[LayerRecord, ...]
    output: OutputRecord
    input_length: float
    method: str
    error: NDArray[np.float64]
    status: str
    margin: float
    counting_rule: str
    doubtful: int | None = None
    resolved: int | None = None
    uncertain: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

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

        Columns: ``layer`` (0 is the input), ``name``, ``op``, ``units``; the counts ``transitions``,
        ``sign_transitions`` (for the output: sign changes, summed over outputs) and ``saturation_passages``;
        ``regions`` of the network cut off after the layer; ``length`` and its ``error`` in units of the
        layer's space; ``growth``, the ratio to the length before; ``angular_length`` and ``turning`` in
        radians. A cell that has no meaning, such as the transitions of the input, is missing.

        Returns:
            The table.
        """
        from netfold.results import codec

        return codec.table(self)

    def to_xarray(self) -> xr.Dataset:
        """Everything the trace holds, as a dataset that netCDF can store without loss.

        Dimensions: ``layer``, ``breakpoint``, ``stage`` (input, layers, output), ``output``, ``class_change``
        and ``stretch`` (between class changes). Attributes: the counting rule, the method, its status and the
        provenance (as JSON). Units are in every variable's attributes.

        Returns:
            The dataset.
        """
        from netfold.results import codec

        return codec.dataset(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to a netCDF-4 file, whole or not at all.

        Args:
            path: the file, usually with the ending ``.nc``.

        Raises:
            InvalidInputError: the folder does not exist.
        """
        from netfold.files import write_dataset

        write_dataset(self.to_xarray(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a trace that `save` wrote.

        Args:
            path: the file.

        Returns:
            A trace equal to the saved one, with the same provenance.

        Raises:
            FileNotFoundError: there is no such file.
            UntrustedFileError: the file is a pickle.
            CorruptFileError: the file is damaged, or holds something else.
        """
        from netfold.results import codec

        return codec.read_trace(path)

    def compare(self, path: Path, law: Model | Diagnosis | Law | None = None, **stated: Any) -> Comparison:
        """Every measured number beside its prediction for random weights: see `netfold.theory.compare`.

        Args:
            path: the path that was traced.
            law: the network, its diagnosis, or a law; or state ``activation``, ``sigma_w`` and ``sigma_b``.

        Example:
            >>> import netfold as nf
            >>> net, line = nf.random_network(2, 50, 2), nf.Line([1.0, 0.5], [-1.0, 0.5])
            >>> found = nf.trace_path(net, line).compare(line, net)
            >>> [row.name for row in found["growth"] if abs(row.gap) < 3]
            ['act1', 'act2', 'output']
        """
        from netfold.theory import compare

        return compare([self], path, law, **stated)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the breakpoints along t, one row a layer, and the class under them.

        Args:
            ax: where to draw; a new figure by default.

        Returns:
            The axes drawn on.
        """
        from netfold.plots import traces

        return traces.breakpoints(self, ax)

    def __eq__(self, other: object) -> bool:
        """Whether every measured value is the same."""
        return same(self, other) if isinstance(other, Trace) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.regions, self.patterns, self.layers))

    def __repr__(self) -> str:
        lines = [self._headline()]
        width = max([len(name) for name in ["output", *(layer.name for layer in self.layers)]])
        lines.append(f"  {'layer':<{width}}  {'op':<12} {'units':>7} {'transitions':>11} {'length':>11} {'growth':>7}")
        lines.append(f"  {'input':<{width}}  {'':<12} {'':>7} {'':>11} {self.input_length:>11.4g}")
        shown = self.layers if len(self.layers) <= 40 else self.layers[:20]
        lines += [
            f"  {layer.name:<{width}}  {layer.op:<12} {layer.units:>7} {layer.transitions:>11} "
            f"{layer.length:>11.4g} {layer.growth:>7.3g}"
            for layer in shown
        ]
        if len(shown) < len(self.layers):
            lines.append(f"  ... {len(self.layers) - len(shown)} more layers: see to_dataframe()")
        lines.append(f"  {'output':<{width}}  {'':<12} {self.output.size:>7} {'':>11} {self.output.length:>11.4g}")
        return "\n".join([*lines, f"counted: {self.counting_rule}"])

    def _repr_html_(self) -> str:
        from netfold.results import codec

        return codec.html(self._headline(), self.to_dataframe(), f"Counted: {self.counting_rule}")

    def _headline(self) -> str:
        what = f" of {self.provenance['model']}" if "model" in self.provenance else ""
        return (
            f"Trace{what}: {counted(self.regions, 'region')}, {counted(self.patterns, 'pattern')}, "
            f"{counted(self.linear_pieces, 'linear piece')}; "
            f"{counted(int(self.transitions.sum()), 'transition')} ({self.status})"
        )


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or the plural.

    Example:
        >>> counted(1, "region"), counted(1200, "region")
        ('1 region', '1,200 regions')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal all the way down, with NaN equal to NaN.

    Example:
        >>> same((1, np.array([0.5, np.nan])), (1, np.array([0.5, np.nan])))
        True
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    if isinstance(a, Trace | OutputRecord | LayerRecord):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare)
    return bool(a == b)
