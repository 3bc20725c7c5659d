"""Activation patterns met at sampled points: a lower bound on the number of regions, and whether it means anything."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arguments import checked
from netfold.capture import Model, Program, capture
from netfold.capture.data import tensor_of
from netfold.errors import InvalidInputError
from netfold.measures.states import rows_together, states_at
from netfold.results.base import Result, counted, measured
from netfold.results.provenance import provenance

SATURATED = 0.5
"""Sample coverage below which the count of patterns tells about the sample, not about the network."""

RULE = "distinct activation patterns (states of all units) met at the given points, each evaluated in float64"


class SaturationWarning(UserWarning):
    """So many sampled patterns were met once only that their number means little."""


class PatternCount(Result):
    """Distinct activation patterns at some points; ``int(found)`` is their number.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=4, depth=1, outputs=1, sigma_b=0.5, seed=0)
        >>> points = np.random.default_rng(0).normal(size=(1000, 2))
        >>> found = nf.count_patterns(net, points)
        >>> int(found) <= int(nf.count_regions(net)), found.saturated
        (True, False)
    """

    FORMAT = "netfold count of patterns 1"

    patterns: int = measured(
        "the number; a lower bound on the regions, up to points closer to a border than float64 resolves"
    )
    samples: int = measured("how many points there were")
    once: int = measured("patterns met at one point only")
    twice: int = measured("patterns met at two points")
    counting_rule: str = measured("what was counted", default=RULE)
    provenance: dict[str, Any] = measured("model, versions, time", default_factory=dict, compare=False, repr=False)

    @property
    def value(self) -> int:
        """The number, by the name that it has in counts and estimates."""
        return self.patterns

    def _headline(self) -> str:
        return f"PatternCount: {counted(self.patterns, 'pattern')} met at {counted(self.samples, 'point')}"

    def __int__(self) -> int:
        return self.patterns

    @property
    def coverage(self) -> float:
        """The share of further points that would show a pattern already met (Good and Turing), estimated."""
        return 1.0 - self.once / self.samples

    @property
    def saturated(self) -> bool:
        """Whether most points have a pattern of their own: the count is then close to the number of samples."""
        return self.coverage < SATURATED


@checked
def count_patterns(model: Model, points: Any) -> PatternCount:
    """Count the distinct activation patterns at points, and warn where the count says nothing about the network.

    Where almost every point has a pattern of its own the number of patterns is the number of points, whatever the
    network: then use `estimate_regions`, or trace paths. The share of patterns already known among further points
    is estimated by 1 - (patterns met once) / samples (Good 1953).

    Args:
        model: a module in evaluation mode, or a captured program; smooth networks count signs.
        points: ``(points, *input_shape)``.

    Returns:
        The count.

    Raises:
        InvalidInputError: there is no point, or points do not fit the model.
        CaptureError: the model cannot be captured.

    Warns:
        SaturationWarning: the sample covers less than half of what there is.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.ReLU())
        >>> int(nf.count_patterns(net, [[-1.0], [-2.0], [1.0], [2.0]]))
        2
    """
    begin = time.perf_counter()
    program = capture(model, shape=tensor_of(points, "points").shape[1:])
    where = program.points(points)
    if len(where) == 0:
        raise InvalidInputError("there is no point: the array of points is empty")
    with torch.no_grad():
        hashes = np.concatenate([_hashes(program, part) for part in where.split(rows_together(program))])
    met = np.unique(hashes, return_counts=True)[1]
    found = PatternCount(
        len(met),
        len(where),
        int((met == 1).sum()),
        int((met == 2).sum()),
        provenance=provenance(program, seconds=time.perf_counter() - begin),
    )
    if found.saturated:
        warnings.warn(
            f"{found.patterns:,} distinct patterns among {found.samples:,} points, {found.once:,} of them met once: "
            "the count follows the number of points, not the network; use estimate_regions or trace_paths",
            SaturationWarning,
            stacklevel=2,
        )
    return found


def _hashes(program: Program, points: torch.Tensor) -> NDArray[np.void]:
    """128 bits of every point's pattern: a sum of keys times states, modulo 2^64, twice."""
    total = np.zeros((len(points), 2), np.uint64)
    for layer, states in states_at(program, points):
        keys = np.random.default_rng(layer).integers(0, 2**64, (states.shape[1], 2), np.uint64, endpoint=False)
        # The state of a unit is at least 0; one more, so that layers of different sizes cannot stand for each other.
        total += (states.cpu().numpy().astype(np.uint64) + np.uint64(1)) @ keys
    return np.ascontiguousarray(total).view("V16").reshape(-1)
