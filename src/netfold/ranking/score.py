"""`score`: how expressive an architecture is on given data, in milliseconds and without training."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from netfold.arguments import Positive, PositiveInt, Seed, checked, require, sequence
from netfold.arrays import numbers
from netfold.capture import Model, Program, capture
from netfold.capture.capture import is_exported
from netfold.capture.data import without_labels
from netfold.errors import InvalidInputError
from netfold.exact.numerics.threads import aside
from netfold.measures.many_lines import Lines, regions_of
from netfold.measures.many_lines import measured as measured_lines
from netfold.measures.tracing import Method, trace_paths
from netfold.paths import Line
from netfold.progress import held
from netfold.results.base import Record, Tabular, counted, declared, measured
from netfold.results.intervals import estimate
from netfold.results.provenance import surroundings
from netfold.results.status import Standing

if TYPE_CHECKING:
    import pandas as pd

Factory = Callable[..., nn.Module]

SCORES = ("regions", "transitions", "growth")


class Estimate(Record):
    """A mean and how well it is known."""

    value: float = measured("the mean (geometric, of ratios)")
    standard_error: float = measured("its standard error; NaN from a single value")
    low: float = measured("lower end of the 95% interval of Student's t")
    high: float = measured("its upper end")


class Score(Tabular, Record):
    """Expressivity scores of a network or architecture, beside its size."""

    regions: Estimate = measured("activation regions on a line between two inputs")
    transitions: Estimate = measured("state switches of all units on such a line")
    growth: Estimate = measured("length after the last nonlinearity over the line's own")
    parameters: int = measured("numbers in the model's parameters")
    flops: int = measured("operations of one forward pass's products, two for a multiplication and an addition")
    lines: int = measured("how many lines were traced in each network")
    networks: int = measured(
        "how many networks were drawn; intervals are over networks, or over lines where there is one"
    )
    seconds: float = measured("time to capture and to measure all of them (wall clock)", unit="s", compare=False)
    capture_seconds: float = measured("the part of it that capturing took", unit="s", compare=False)
    method: str = measured("``exact`` or ``sampled``")
    status: Standing = measured("of the traces: ``exact``, ``converged``, or ``not converged`` with the reason")
    counting_rule: str = measured("what was counted")
    provenance: dict[str, Any] = measured("versions, machine, model and seed", compare=False)

    @property
    def values(self) -> dict[str, float]:
        """Every score and baseline by name, as a row of a table."""
        means = {name: getattr(self, name).value for name in SCORES}
        return {**means, "parameters": self.parameters, "flops": self.flops}

    def to_dataframe(self) -> pd.DataFrame:
        """One row a score: ``value``, ``standard_error``, ``low``, ``high``, ``meaning``; baselines have no error."""
        import pandas as pd

        rows = []
        for one in declared(Score)[:5]:
            found = getattr(self, one.name)
            known = found if isinstance(found, Estimate) else Estimate(found, 0.0, found, found)
            rows.append({"score": one.name, **vars(known), "meaning": one.quantity.meaning})
        return pd.DataFrame(rows).set_index("score")

    def _shown(self) -> pd.DataFrame:
        return self.to_dataframe().reset_index()

    def __repr__(self) -> str:
        table = self._shown().drop(columns="meaning").to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return f"Score: {self}\n{table}\ncounted: {self.counting_rule}"

    def __str__(self) -> str:
        shown = [f"{name} {_shown(getattr(self, name))}" for name in SCORES]
        many = f" in each of {self.networks} networks" if self.networks > 1 else ""
        return (
            f"{', '.join(shown)} on {counted(self.lines, 'line')}{many} ({self.status}); "
            f"{counted(self.parameters, 'parameter')}, {self.flops:,} FLOPs; {1e3 * self.seconds:.0f} ms"
        )


@checked
def score(
    model: Model | Factory,
    inputs: Any,
    *,
    lines: PositiveInt = 16,
    networks: PositiveInt = 4,
    seed: Seed = 0,
    method: Method = "auto",
    seconds: Positive | None = 60.0,
) -> Score:
    """Score how expressive a network is between given inputs: regions, transitions and length growth on lines.

    Straight lines are drawn between random pairs of inputs, the same ones for every model, and followed exactly
    (`netfold.trace_path`). Counts of patterns at the inputs alone saturate: once every input has a pattern of its own,
    all larger networks score the same. Regions on lines go on growing, about linearly in the number of units (Hanin and
    Rolnick, ICML 2019), and the length of the image with the gain of each layer (Raghu et al., ICML 2017).

    These are properties of a network at its present weights. Whether they predict how well it trains is another
    question: ask it with `netfold.rank_correlation`, and set the scores beside the number of parameters, which is often
    as good.

    Args:
        model: a module in evaluation mode, or a captured program; or a function that makes a module, which is then
            drawn several times: it is called with ``seed=`` if it takes one, otherwise under torch's random state
            seeded for it (and restored).
        inputs: at least two different points, ``(points, *shape)``.
        lines: how many lines.
        networks: how many networks of a factory.
        seed: seed of the pairs, and of the networks.
        method: as for `netfold.trace_path`. Smooth networks are measured by the sampled method, in which a unit's state
            is the sign of what its nonlinearity reads; that takes tens of times as long.
        seconds: how long the lines of one network may take, about, with ``method="auto"``; ``None`` for no limit. Lines
            that are too long to follow are then estimated (`netfold.estimate_trace`), which is right on average, and
            where there is no time for all, fewer lines are taken.

    Returns:
        The scores with their errors, the baselines and the time.

    Raises:
        InvalidInputError: the inputs are no points, or not two different ones; a number is out of range; the factory
            makes no module.
        NotPiecewiseLinearError: ``exact`` is asked of a smooth network.
        CaptureError: a network cannot be captured.

    Example:
        >>> import netfold as nf
        >>> x = np.random.default_rng(0).standard_normal((50, 6))
        >>> small = nf.score(lambda seed: nf.random_network(6, 8, 2, seed=seed), x)
        >>> large = nf.score(lambda seed: nf.random_network(6, 32, 2, seed=seed), x)
        >>> large.regions.low > small.regions.high
        True
        >>> large.parameters, large.flops
        (1313, 2496)
    """
    points = _points(inputs)
    between = _lines(points, lines, seed)
    begin, captured = time.perf_counter(), 0.0
    traces: list[Lines] = []
    program = None
    for network in _networks(model, networks, seed):
        at = time.perf_counter()
        program = capture(network, shape=points.shape[1:])
        captured += time.perf_counter() - at
        if method == "auto" and seconds is not None:
            traces.append(measured_lines(program, between, "tracing", False, seconds, 1e-6))
        else:
            traces.append(trace_paths(program, between, method, progress=False))
    assert program is not None
    return _scored(program, traces, (time.perf_counter() - begin, captured), seed)


def table(scores: Iterable[Score]) -> pd.DataFrame:
    """Scores of several models, one row a model, for `rank_correlation`.

    Example:
        >>> import netfold as nf
        >>> x = np.random.default_rng(0).standard_normal((50, 6))
        >>> found = table(nf.score(nf.random_network(6, width, 2), x) for width in (4, 8))
        >>> found["parameters"].tolist()
        [53, 137]
    """
    import pandas as pd

    listed = require(tuple[Score, ...], tuple(sequence(scores, "scores")), "scores")
    return pd.DataFrame([found.values for found in listed])


def flops(program: Program) -> int:
    """Floating-point operations of a forward pass of one point, counted by torch: products and convolutions alone."""
    point = torch.zeros((1, *program.input_shape), dtype=torch.float64, device=program.device)
    with held(), torch.no_grad(), _Products() as products:
        program(point)
    return products.flops


class _Products(TorchDispatchMode):
    """Counts as `torch.utils.flop_counter.FlopCounterMode` does, which takes a second to import the compiler."""

    flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def _networks(model: Model | Factory, count: int, seed: int) -> Iterator[Model]:
    if isinstance(model, nn.Module | Program) or is_exported(model):
        yield model
        return
    if not callable(model):
        raise InvalidInputError(
            f"model: expected a module, a program or a function that makes a module, got {type(model).__name__}"
        )
    for drawn in np.random.SeedSequence(seed).generate_state(count, np.uint32).tolist():
        yield _made(model, drawn)


def _made(factory: Factory, seed: int) -> nn.Module:
    try:
        takes_seed = "seed" in inspect.signature(factory).parameters
    except ValueError:
        takes_seed = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = factory(seed=seed) if takes_seed else factory()
    if not isinstance(network, nn.Module):
        raise InvalidInputError(f"the factory made a {type(network).__name__}, not a torch.nn.Module")
    # It is the factory's own network, not one of the user's.
    return network.eval()


def _points(inputs: Any) -> NDArray[np.float64]:
    points = numbers(without_labels(inputs), "inputs")
    if points.ndim < 2:
        raise InvalidInputError(f"inputs must be points, one a row, got an array of shape {points.shape}")
    return points


def _lines(points: NDArray[np.float64], count: int, seed: int) -> list[Line]:
    """Lines between random pairs of different points."""
    # aside: numpy turns Ctrl-C during a comparison of rows into an error of its own
    _, first = aside(partial(np.unique, points.reshape(len(points), -1), axis=0, return_index=True))
    rows = np.sort(first)
    if len(rows) < 2:
        raise InvalidInputError(f"inputs must hold at least two different points, got {len(rows)}")
    generator = np.random.default_rng(seed)
    start = generator.integers(len(rows), size=count)
    end = (start + generator.integers(1, len(rows), size=count)) % len(rows)
    return [Line(points[rows[a]], points[rows[b]]) for a, b in zip(start, end, strict=True)]


def _scored(program: Program, traces: list[Lines], seconds: tuple[float, float], seed: int) -> Score:
    fewest = min(len(found) for found in traces)
    traces = [found[:fewest] for found in traces]
    flat = [trace for found in traces for trace in found]
    doubtful = sorted({trace.status for trace in flat if not trace.status.kind.reached})
    return Score(
        regions=_estimate([regions_of(found) for found in traces]),
        transitions=_estimate([found.values("transitions").sum(1) for found in traces]),
        growth=_estimate([_growth(found) for found in traces], geometric=True),
        parameters=program.parameters,
        flops=flops(program),
        lines=len(traces[0]),
        networks=len(traces),
        seconds=seconds[0],
        capture_seconds=seconds[1],
        method=flat[0].method,
        status=doubtful[0] if doubtful else flat[0].status,
        counting_rule=flat[0].counting_rule,
        provenance={**surroundings(), "model": program.name, "seed": seed},
    )


def _growth(lines: Lines) -> NDArray[np.float64]:
    """Length after the last nonlinearity (without any: in the output) over each path's own."""
    lengths = lines.values("length")
    return lengths[:, max(lengths.shape[1] - 2, 1)] / lengths[:, 0]


def _estimate(values: list[NDArray[np.float64]], geometric: bool = False) -> Estimate:
    """Mean over networks of means over lines; the error is that over networks, of one network that over lines."""
    numbers = np.array(values, float)
    if len(numbers) > 1 and geometric:
        with np.errstate(divide="ignore"):
            numbers = np.exp(np.log(numbers).mean(1))
    elif len(numbers) > 1:
        numbers = numbers.mean(1)
    found = estimate(numbers.reshape(-1), geometric=geometric)
    return Estimate(found["mean"], found["standard_error"], found["low"], found["high"])


def _shown(mean: Estimate) -> str:
    return f"{mean.value:.4g} ± {mean.standard_error:.2g}"
