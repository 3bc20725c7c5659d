"""Measured numbers beside what theory expects of random weights, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netfold.errors import InvalidInputError
from netfold.theory.activations import as_activation
from netfold.theory.expectation import Expectation, Law, expect
from netfold.theory.fixed_points import ActivationLike
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from netfold.measures.trace import Trace
    from netfold.theory.diagnosis import Diagnosis

Draws = Literal["paths", "networks"]

MEASURES = ("growth", "transitions", "sign_transitions", "sign_transitions_from_angle")
"""What is compared, layer by layer."""

NARROW = 12
"""Layers with fewer units often have all of them off."""

ONE_DRAW = "spread of one draw of the weights, at most"
NO_ERROR = "unknown: trace several networks of the ensemble"


@dataclass(frozen=True)
class ComparedNumber:
    """One measured number beside its prediction.

    Attributes:
        measure: one of `MEASURES`.
        layer: number of the layer, from 1; the output last.
        name: its module path.
        measured: the mean over paths or networks.
        predicted: the mean of its predictions; nan where theory does not apply.
        error: standard error of the difference, as ``error_of`` says; nan where unknown.
        gap: the difference in standard errors.
        holds: at what width the prediction holds.
        error_of: what the error is.
        note: why theory does not apply, or what the prediction leaves out.
    """

    measure: str
    layer: int
    name: str
    measured: float
    predicted: float
    error: float
    gap: float
    holds: str
    error_of: str
    note: str


@dataclass(frozen=True, repr=False)
class Comparison:
    """Measurement beside theory; see `compare`.

    Attributes:
        rows: the numbers, measure by measure and layer by layer.
        count: how many traces were taken together, and ``draws`` whether they are paths or networks.
        caveat: what all predictions leave out; empty where nothing.
    """

    rows: tuple[ComparedNumber, ...]
    count: int
    draws: Draws
    caveat: str

    def __getitem__(self, measure: str) -> tuple[ComparedNumber, ...]:
        """The numbers of one measure, layer by layer.

        Raises:
            InvalidInputError: another measure.
        """
        if measure not in MEASURES:
            raise InvalidInputError(f"no measure {measure!r}; choose one of {', '.join(MEASURES)}")
        return tuple(row for row in self.rows if row.measure == measure)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a number."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def plot(self, measure: str = "growth", ax: Axes | None = None) -> Axes:
        """Measured points with their errors on the line of theory, layer by layer.

        Args:
            measure: one of `MEASURES`.
            ax: axes to draw on; new ones by default.
        """
        from netfold.theory.drawing import draw_comparison

        return draw_comparison(self, measure, ax)

    def __repr__(self) -> str:
        frame = self.to_dataframe()
        shown = frame[["measure", "name"]].copy()
        for column in ("measured", "predicted", "error", "gap"):
            shown[column] = ["-" if np.isnan(v) else f"{v:.4g}" for v in frame[column]]
        text = shown.assign(holds=frame["holds"]).to_string(index=False)
        many = f"{self.count} {self.draws if self.count > 1 else self.draws[:-1]}"
        notes = dict.fromkeys(f"{row.measure}: {row.note}" for row in self.rows if row.note and row.note != self.caveat)
        errors = dict.fromkeys(row.error_of for row in self.rows if np.isfinite(row.gap))
        tail = [f"- {self.caveat}"] if self.caveat else []
        tail += [f"- {note}" for note in notes]
        tail += [f"- error: {' or '.join(errors)}"] if errors else []
        return "\n".join([f"measured over {many} beside random weights:", text, *tail])


def compare(
    traces: Sequence[Trace],
    paths: Any,
    law: Diagnosis | Law | None = None,
    *,
    activation: ActivationLike | None = None,
    sigma_w: float | Sequence[float] | None = None,
    sigma_b: float | Sequence[float] = 0.0,
    draws: Draws = "paths",
) -> Comparison:
    """Put the matching prediction beside every measured number, with the gap in standard errors.

    - growth of the length in every layer: exact at the network's widths for ReLU and other homogeneous
      activations, along any curve; otherwise for infinite width along these very paths (a line, which also
      moves along the signal itself, has a formula of its own);
    - transitions and sign transitions: exact in the first layer, infinite width after it (Kac-Rice);
    - sign transitions from the angle: the angular length of the image that was *measured* in the layer before,
      over pi (Crofton; exact at every width for layers without biases, where that image does not pass 0).

    The standard error: over networks, of the mean of the differences. Paths through one network share its
    weights, so for them it is the spread of one draw of the weights, at most, where that is known, otherwise
    that of the mean over paths; ``error_of`` says which. Where theory does not apply the prediction is nan
    and the note says why.

    Args:
        traces: what was measured; of one architecture.
        paths: the path of every trace, or one for all.
        law: a diagnosis of the network, which reads the law off its weights, or a `Law`; or state
            ``activation``, ``sigma_w`` and ``sigma_b``.
        activation: of all hidden layers, as for `mean_field`.
        sigma_w: standard deviation of a weight times the square root of its fan-in: one number, or one for
            every layer with the readout.
        sigma_b: standard deviation of a bias, likewise.
        draws: what the traces are: "paths" through one network, or "networks" drawn independently from one law.

    Raises:
        InvalidInputError: no law, or two; paths that are not those of the traces; an activation that the layers
            do not have.

    Source:
        `length_growth`, `crossing_rate` and `expected_sign_transitions`.

    Example:
        >>> import netfold as nf
        >>> line = nf.Line([1.0, 0.2, -0.5], [-0.3, 1.0, 0.8])
        >>> nets = [nf.random_network(3, 20, 2, seed=seed) for seed in range(20)]
        >>> traces = nf.Traces([nf.trace_path(net, line) for net in nets])
        >>> found = compare(traces, line, activation="relu", sigma_w=2**0.5, draws="networks")
        >>> [bool(abs(row.gap) < 3) for row in found["growth"]]
        [True, True, True]
    """
    taken = _taken(paths, traces)
    law = _law(law, activation, sigma_w, sigma_b, traces[0])
    widths = [layer.units for layer in traces[0].layers]
    known: dict[int, Expectation] = {}
    for path in taken:
        if id(path) not in known:
            known[id(path)] = expect(law, path, widths, traces[0].output.size)
    expected = [known[id(path)] for path in taken]
    rows = (*_growth(traces, expected, law, draws), *_counts(traces, expected, law, draws))
    return Comparison((*rows, *_crofton(traces, law, draws)), len(traces), draws, law.caveat)


def _taken(paths: Any, traces: Sequence[Trace]) -> list[Any]:
    listed = list(paths) if isinstance(paths, Sequence) else [paths] * len(traces)
    if len(listed) != len(traces):
        raise InvalidInputError(f"expected one path, or one for each of {len(traces)} traces, got {len(listed)}")
    for number, (path, trace) in enumerate(zip(listed, traces, strict=True)):
        length = getattr(path, "length", trace.input_length)
        if not np.isclose(length, trace.input_length, rtol=1e-6):
            raise InvalidInputError(
                f"path {number} is {length:.6g} long, but its trace is of one that is {trace.input_length:.6g} long: "
                "give the path that was traced"
            )
    return listed


def _law(
    law: Diagnosis | Law | None,
    activation: ActivationLike | None,
    sigma_w: float | Sequence[float] | None,
    sigma_b: float | Sequence[float],
    trace: Trace,
) -> Law:
    stated = activation is not None and sigma_w is not None
    if (law is None) != stated:
        raise InvalidInputError(
            "the law of the weights is needed, once: a diagnosis of the network, or activation=... and sigma_w=..."
        )
    ops = dict.fromkeys(layer.op for layer in trace.layers)
    if isinstance(law, Law):
        return law
    if law is not None:
        return Law.of(law)
    if activation is None or sigma_w is None:
        raise InvalidInputError("activation and sigma_w must be given together")
    found = Law.given(activation, sigma_w, sigma_b, len(trace.layers) + 1)
    if len(ops) > 1:
        return Law(found.activation, found.sigma_w, found.sigma_b, f"its layers are of several kinds: {', '.join(ops)}")
    _require_same(next(iter(ops), ""), found)
    return found


def _require_same(op: str, law: Law) -> None:
    try:
        known = as_activation(op)
    except InvalidInputError:
        return
    if law.activation is not None and known.name != law.activation.name and known.name in _TOLD_APART:
        raise InvalidInputError(f"the layers of this trace are {op}, but activation is {law.activation.name!r}")


_TOLD_APART = ("relu", "hardtanh", "tanh", "gelu", "silu", "erf")


def _growth(
    traces: Sequence[Trace], expected: Sequence[Expectation], law: Law, draws: Draws
) -> Iterator[ComparedNumber]:
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = np.array([trace.lengths[1:] / trace.lengths[:-1] for trace in traces])
    predicted = np.array([e.growth for e in expected])
    spread = np.array([e.growth_spread for e in expected])
    for i, name in enumerate(_names(traces[0], with_output=True)):
        yield _number(
            "growth",
            i,
            name,
            measured[:, i],
            predicted[:, i],
            spread[:, i],
            draws,
            str(expected[0].growth_method),
            next((e.no_growth for e in expected if e.no_growth), law.caveat),
        )


def _counts(
    traces: Sequence[Trace], expected: Sequence[Expectation], law: Law, draws: Draws
) -> Iterator[ComparedNumber]:
    why = next((e.no_transitions for e in expected if e.no_transitions), law.caveat)
    first = np.array([e.first_spread for e in expected])
    at_zero = law.activation is not None and set(law.activation.kinks) == {0.0}
    for measure in ("transitions", "sign_transitions"):
        measured = np.array([getattr(trace, measure) for trace in traces], np.float64)
        predicted = np.array([getattr(e, measure) for e in expected])
        for i, name in enumerate(_names(traces[0])):
            known = i == 0 and (measure == "sign_transitions" or at_zero)
            spread = first if known else np.full(len(traces), np.nan)
            holds = "exact at this width" if i == 0 else "infinite width"
            note = why if np.isnan(predicted[:, i]).any() else law.caveat
            yield _number(measure, i, name, measured[:, i], predicted[:, i], spread, draws, holds, note)


def _crofton(traces: Sequence[Trace], law: Law, draws: Draws) -> Iterator[ComparedNumber]:
    """Sign transitions of every layer after the first, and of the output, from the image before it."""
    angles = np.array([[layer.angular_length for layer in trace.layers] for trace in traces])
    units = [*(layer.units for layer in traces[0].layers[1:]), traces[0].output.size]
    counts = [[*trace.sign_transitions[1:], trace.output.sign_changes.sum()] for trace in traces]
    measured, predicted = np.array(counts, np.float64), angles * units / np.pi
    for i, name in enumerate(_names(traces[0], with_output=True)[1:]):
        why = law.reason
        if not why and law.sigma_b[min(i + 1, len(law.sigma_b) - 1)] > 0:
            why = "a bias adds a coordinate to the sphere: theory.angular_length(points, bias) knows it, a trace not"
        given = np.full(len(traces), np.nan) if why else predicted[:, i]
        if not why and traces[0].layers[i].units < NARROW:
            why = "the image in a narrow layer can pass 0, and then has no angle there"
        none = np.full(len(traces), np.nan)
        yield _number(
            MEASURES[3], i + 1, name, measured[:, i], given, none, draws, "exact at this width", why or law.caveat
        )


def _names(trace: Trace, *, with_output: bool = False) -> list[str]:
    return [*(layer.name for layer in trace.layers), *(["output"] if with_output else [])]


def _number(
    measure: str,
    index: int,
    name: str,
    measured: Array,
    predicted: Array,
    spread: Array,
    draws: Draws,
    holds: str,
    note: str,
) -> ComparedNumber:
    there = np.isfinite(measured)  # growth from a length of 0 is no number
    measured, predicted, spread = measured[there], predicted[there], spread[there]
    if not len(measured):
        note = "nothing is left of the path to measure"
        return ComparedNumber(measure, index + 1, name, np.nan, np.nan, np.nan, np.nan, "", NO_ERROR, note)
    mean, theory = float(measured.mean()), float(predicted.mean())
    if draws == "networks" and len(measured) > 1:
        error = float((measured - predicted).std(ddof=1) / np.sqrt(len(measured)))
        error_of = f"standard error over {len(measured)} networks"
    elif np.isfinite(spread).all():
        error, error_of = float(spread.mean()), ONE_DRAW
    elif len(measured) > 1:
        error = float((measured - predicted).std(ddof=1) / np.sqrt(len(measured)))
        error_of = f"standard error over {len(measured)} paths alone, the weights being one draw"
    else:
        error, error_of = np.nan, NO_ERROR
    gap = 0.0 if mean == theory else (mean - theory) / error if error > 0 else np.nan
    return ComparedNumber(
        measure, index + 1, name, mean, theory, error, float(gap), holds if np.isfinite(theory) else "", error_of, note
    )
