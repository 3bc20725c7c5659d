"""Independent sets of the matroid that a convolution's windows make (Xiong et al. 2020, Theorem 2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

# About three seconds; most two-dimensional layers of real networks are far beyond.
MOST_TRACES = 1024
MOST_STEPS = 10_000_000


def independent_choices(windows: Sequence[frozenset[int]], weight: int, filters: int) -> int | None:
    """``sum_t prod_i C(filters, t_i)`` over t with ``t(J) <= weight * |union of J's windows|`` for all J.

    Windows are taken one after the other. For a set P of windows already taken, all that matters to the
    rest is ``h(X) = max_{Q in P} (t(Q) - weight * |N(Q) minus X|)``, the excess of the fullest Q when the
    places X are promised to later windows F, for each trace ``X = N(F) & N(P)`` they can leave on N(P).
    Taking window w with t filters turns h into ``max(h(X), t - weight * |w minus X| + h(X | w))``, and the
    choice is possible while ``h({}) <= 0``. Choices with equal h are counted together.

    Args:
        windows: places that each output position sees.
        weight: hyperplanes that one place can carry (input channels).
        filters: hyperplanes at each position.

    Returns:
        The sum, or None where there are too many traces or too many different h.
    """
    binomials = [math.comb(filters, t) for t in range(filters + 1)]
    seen: frozenset[int] = frozenset()
    traces = [frozenset[int]()]
    states, steps = {(0,): 1}, 0
    for i, window in enumerate(windows):
        later = seen | window
        index = {trace: k for k, trace in enumerate(traces)}
        new_traces = _traces(later, windows[i + 1 :])
        if new_traces is None:
            return None
        moves = [(index[x & seen], index[(x | window) & seen], weight * len(window - x)) for x in new_traces]
        steps += len(states) * len(moves) * len(binomials)
        if steps > MOST_STEPS:
            return None
        states = _take(states, moves, binomials)
        seen, traces = later, new_traces
    return sum(states.values())


def _traces(seen: frozenset[int], rest: Iterable[frozenset[int]]) -> list[frozenset[int]] | None:
    """Every ``N(F) & seen`` for F among the rest, the empty one first."""
    traces = {frozenset[int](): None}
    for trace in {window & seen: None for window in rest}:
        traces.update(dict.fromkeys([trace | other for other in traces]))
        if len(traces) > MOST_TRACES:
            return None
    return list(traces)


def _take(
    states: dict[tuple[int, ...], int], moves: list[tuple[int, int, int]], binomials: list[int]
) -> dict[tuple[int, ...], int]:
    """States after one more window, summed over how many filters are chosen there."""
    after: dict[tuple[int, ...], int] = {}
    for (excess, ways), (t, binomial) in itertools.product(states.items(), enumerate(binomials)):
        new = tuple(max(excess[kept], t - free + excess[joined]) for kept, joined, free in moves)
        if new[0] <= 0:
            after[new] = after.get(new, 0) + ways * binomial
    return after
