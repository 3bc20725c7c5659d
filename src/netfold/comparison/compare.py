"""Measured numbers beside what theory expects of random weights, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.arguments import checked, shown
from netfold.comparison.columns import MEASURES, ComparedNumber, Draws, angle_columns, count_columns, growth_columns
from netfold.comparison.expectation import Expectation, Law, expect
from netfold.errors import InvalidInputError
from netfold.paths import Path
from netfold.results.base import Result, above, measured
from netfold.results.trace import Trace
from netfold.theory.activations import as_activation
from netfold.theory.diagnose import diagnose
from netfold.theory.diagnosis import Diagnosis
from netfold.theory.fixed_points import ActivationLike

if TYPE_CHECKING:
    import pandas as pd

    from netfold.capture import Model


class Comparison(Result):
    """Measurement beside theory; see `compare`."""

    FORMAT = "netfold comparison 1"

    rows: tuple[ComparedNumber, ...] = measured("the numbers, measure by measure and layer by layer", ("number",))
    count: int = measured("how many traces were taken together")
    draws: str = measured("whether they are ``paths`` through one network or ``networks``")
    caveat: str = measured("what all predictions leave out; empty where nothing")

    plot = above("netfold.plots.theory:comparison")

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

        return pd.DataFrame([vars(row) for row in self.rows])

    def __repr__(self) -> str:
        frame = self.to_dataframe()
        shown = frame[["measure", "label"]].set_axis(["measure", "layer"], axis=1)
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


@checked
def compare(
    traces: Trace | Sequence[Trace],
    paths: Any,
    law: Model | Diagnosis | Law | None = None,
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
    weights, so for them it is the spread of one draw of the weights, at most, where that is known (growth of
    homogeneous activations, the first layer's sign transitions on a line), and the scatter over outputs for
    theirs. Otherwise the error is that of the mean over paths, ``error_of`` says so, and there is no gap: trace
    several networks of the ensemble. Where theory does not apply the prediction is nan and the note says why.

    Args:
        traces: what was measured: one trace, or several of one architecture.
        paths: the path of every trace, or one for all.
        law: the network, or its diagnosis, which read the law off the weights; or a `Law`; or state
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
        >>> found = traces[0].compare(line, nets[0])
        >>> [row.name for row in found["growth"] if abs(row.gap) < 3]
        ['act1', 'act2', 'output']
    """
    traces = [traces] if isinstance(traces, Trace) else traces
    taken = _taken(paths, traces)
    stated = None if activation is None or sigma_w is None else (activation, sigma_w, sigma_b)
    law = _law(law, stated, traces[0], taken[0])
    widths = [layer.units for layer in traces[0].layers]
    known: dict[int, Expectation] = {}
    for path in taken:
        if id(path) not in known:
            known[id(path)] = expect(law, path, widths, traces[0].output.size)
    expected = [known[id(path)] for path in taken]
    columns = (
        *growth_columns(traces, expected, law),
        *count_columns(traces, expected, law),
        *angle_columns(traces, law),
    )
    return Comparison(tuple(column.number(draws) for column in columns), len(traces), draws, law.caveat)


def _taken(paths: Any, traces: Sequence[Trace]) -> list[Any]:
    listed = list(paths) if isinstance(paths, Sequence) and not isinstance(paths, str) else [paths] * len(traces)
    if strange := [path for path in listed if not isinstance(path, Path)]:
        raise InvalidInputError(f"paths must be one path, or one for each trace, got {shown(strange[0])}")
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


def _law(law: Model | Diagnosis | Law | None, stated: tuple[Any, Any, Any] | None, trace: Trace, path: Any) -> Law:
    if law is None and stated is not None:
        return _stated(*stated, trace)
    if law is None or stated is not None:
        raise InvalidInputError(
            "the law of the weights is needed, once: the network or a diagnosis of it, or activation=... and "
            "sigma_w=..."
        )
    if isinstance(law, Law):
        return law
    return Law.of(law if isinstance(law, Diagnosis) else diagnose(law, shape=path.shape))


def _stated(activation: ActivationLike, sigma_w: Any, sigma_b: Any, trace: Trace) -> Law:
    found = Law.given(activation, sigma_w, sigma_b, len(trace.layers) + 1)
    ops = dict.fromkeys(layer.op for layer in trace.layers)
    if len(ops) > 1:
        return replace(found, reason=f"its layers are of several kinds: {', '.join(ops)}")
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
