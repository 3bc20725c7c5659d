"""`estimate_regions`: how many regions a network has where they are too many to count, with an interval."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import Positive, PositiveInt, Seed, Share, checked
from netfold.capture import Model
from netfold.domains import Domain
from netfold.exact.cells.counting.estimate import TreeEstimate, estimate_tree
from netfold.measures.cell_counts import CellJob
from netfold.measures.counts import program_on
from netfold.results.base import Result, measured
from netfold.results.intervals import student
from netfold.results.provenance import provenance
from netfold.results.status import Certainty, Standing

GROUPS = 8
"""Parts of the tree that are estimated independently; how far they differ gives the interval."""

EFFORT = 100_000
"""Decisions that an estimate takes unless the caller says otherwise."""

MOST = 10_000_000
"""Decisions after which an estimate that is to reach a relative error gives up."""


class RegionEstimate(Result):
    """An estimated number of activation regions; ``float(found)`` is the number.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=4, width=16, depth=2, outputs=1, sigma_b=0.5, seed=0)
        >>> found, count = nf.estimate_regions(net, effort=4000), nf.count_regions(net)
        >>> found.at_least <= int(count), bool(found.low <= int(count) <= found.high)
        (True, True)
    """

    FORMAT = "netfold estimate of regions 1"

    value: float = measured("the estimate")
    low: float = measured("lower end of the confidence interval, never below ``at_least``")
    high: float = measured("its upper end")
    confidence: float = measured("nominal share of such intervals that hold the true number")
    standard_error: float = measured("of ``value``, from how far the groups differ; it errs to the safe side")
    at_least: int = measured("distinct regions that were reached: a certified lower bound")
    exact: bool = measured("whether the whole tree was walked, so that ``value`` is the exact count")
    groups: NDArray[np.float64] = measured(
        "the estimates of the parts, which sum to ``value``", ("group",), compare=False, repr=False
    )
    decisions: int = measured("signs that were decided")
    resolved_exactly: int = measured("those among them that were decided in rational arithmetic")
    uncertain: int = measured("decisions that stay open, as in `CountResult`")
    method: str = measured("how it was estimated")
    domain: str = measured("where")
    unbiased: bool = measured(
        "whether the mean over seeds is the true number. It is, at a given effort; an estimate that was repeated until "
        "it reached a relative error stops at a random effort and is only nearly so"
    )
    status: Standing = measured(
        "``exact``, ``estimated``, or ``not converged`` with the relative error that was reached"
    )
    counting_rule: str = measured("what was counted")
    provenance: dict[str, Any] = measured(
        "model, seed, versions, time", default_factory=dict, compare=False, repr=False
    )

    @property
    def regions(self) -> float:
        """The estimate, by the name that it has in counts."""
        return self.value

    def _headline(self) -> str:
        interval = "" if self.exact else f" [{self.low:,.4g}, {self.high:,.4g}]"
        return f"RegionEstimate: {self.value:,.4g}{interval} regions in {self.domain} ({self.status})"

    def __float__(self) -> float:
        return self.value

    @property
    def relative_error(self) -> float:
        """The farther end of the interval from the value, over the value."""
        return max(self.high - self.value, self.value - self.low) / self.value if self.value else 0.0


@checked
def estimate_regions(
    model: Model,
    domain: Domain = None,
    *,
    relative_error: Positive | None = None,
    effort: PositiveInt | None = None,
    confidence: Share = 0.95,
    shape: Sequence[int] | None = None,
    seed: Seed = 0,
) -> RegionEstimate:
    """Estimate how many activation regions a domain holds, where they are too many to count.

    The tree that `count_regions` walks is sampled: at every few units a random few of the cells stand for all, each
    with the inverse of its chance as weight (stochastic enumeration: Rubinstein 2013; Vaisman and Kroese, "Stochastic
    enumeration method for counting trees", 2017). Chances follow how many units are seen to change their state along
    chords through a cell, which makes the estimate vary less; any chances leave it unbiased. Every cell is certified
    as in a count. First the tree is counted, with three times the effort, and to its end where the rest seems to be
    less than ten times the effort: a decision of a count takes far less time than one of a sample. What was counted is
    exact, and only the rest is sampled.

    The interval comes from 8 parts of the tree that are estimated independently: ``value * exp(+-t s / value)`` with
    Student's t for 7 degrees of freedom and standard error s. An effort too small for the network shows as a wide
    interval; where it is a few decisions a unit, the interval itself cannot be trusted.

    Args:
        model: a piecewise-linear module in evaluation mode, or a captured program.
        domain: ``None`` for all of R^m, a `Box` or a `Polytope`.
        relative_error: repeat with more effort until both ends of the interval are this close to the value, as a
            share of it. Only the last repetition is used.
        effort: decisions to take, roughly, beside those of the count; ten units on the way to a cell count as one.
            100,000 by default. With ``relative_error``: the most that one repetition
            may take, 10 million by default.
        confidence: of the interval.
        shape: the shape of one input; needed where neither the domain nor the first layer tells it.
        seed: of the choices.

    Returns:
        The estimate.

    Raises:
        InvalidInputError: an argument is out of range, or the domain does not fit the model.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=1, sigma_b=0.5, seed=0)
        >>> found = nf.estimate_regions(net, nf.Box(-1.0, 1.0))  # small: all of it is walked
        >>> found.status, float(found) == int(nf.count_regions(net, nf.Box(-1.0, 1.0)))
        ('exact', True)
    """
    begin = time.perf_counter()
    program = program_on(model, domain, shape)
    job = CellJob(program, domain)
    rng = np.random.default_rng(seed)
    most = effort or (EFFORT if relative_error is None else MOST)
    spend = most if relative_error is None else min(most, EFFORT // 10)
    while True:
        tree = estimate_tree(job.engine, spend, GROUPS, rng)
        found = _result(job, tree, confidence, relative_error)
        if relative_error is None or found.relative_error <= relative_error or spend >= most:
            break
        spend = min(most, int(spend * np.clip(1.2 * (found.relative_error / relative_error) ** 2, 2.0, 50.0)))
    where = provenance(program, seed=seed, effort=spend, seconds=time.perf_counter() - begin)
    found.provenance.update(where)
    return found


def interval(tree: TreeEstimate, confidence: float) -> tuple[float, float]:
    """Ends of the interval, from the logarithm of the estimate; the lower bound is certain."""
    if tree.exact:
        return tree.value, tree.value
    half = student(len(tree.groups), confidence) * tree.error / tree.value
    return max(float(tree.met), tree.value * float(np.exp(-half))), tree.value * float(np.exp(half))


def _result(job: CellJob, tree: TreeEstimate, confidence: float, wanted: float | None) -> RegionEstimate:
    low, high = interval(tree, confidence)
    reached = max(high - tree.value, tree.value - low) / tree.value if tree.value else 0.0
    status = (Certainty.EXACT if tree.exact else Certainty.ESTIMATED).text()
    if wanted is not None and reached > wanted:
        status = Certainty.SHORT_OF_EFFORT.text(f": relative error {reached:.2g}, not {wanted:g}")
    return RegionEstimate(
        value=tree.value,
        low=low,
        high=high,
        confidence=confidence,
        standard_error=tree.error,
        at_least=tree.met,
        exact=tree.exact,
        groups=tree.groups,
        decisions=tree.work.decisions,
        resolved_exactly=tree.work.resolved,
        uncertain=tree.work.uncertain + job.network.extreme,
        method=f"all cells split, {job.engine.name}" if tree.exact else f"stochastic enumeration, {job.engine.name}",
        domain=job.where,
        unbiased=wanted is None or tree.exact,
        status=status,
        counting_rule=job.rule,
    )
