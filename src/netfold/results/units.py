"""Ranges and states of the units of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.errors import InvalidInputError
from netfold.results.base import Record, Result, Variable, above, measured, variable
from netfold.results.complexity import WatchedLayer

if TYPE_CHECKING:
    import pandas as pd

DEAD, ON, SATURATED, FREE = STATES = ("dead", "on", "saturated", "free")
PROVED, OBSERVED = KNOWN = ("proved", "observed")


class UnitRanges(Record):
    """All units of the layers that have elementwise pieces, one after the other."""

    layer: NDArray[np.int64] = measured("number of the unit's layer, from 1 as in traces", ("unit",), name="unit_layer")
    unit: NDArray[np.int64] = measured("its number in the layer, from 0", ("unit",))
    low: NDArray[np.float64] = measured("lower bound of its pre-activation; over data, the lowest met", ("unit",))
    high: NDArray[np.float64] = measured("upper bound of its pre-activation; over data, the highest met", ("unit",))
    met_low: NDArray[np.float64] = measured("no higher than this at some input that was looked at", ("unit",))
    met_high: NDArray[np.float64] = measured("no lower than this at some input that was looked at", ("unit",))
    state: NDArray[np.int64] = measured(f"0 to 3: {', '.join(STATES)}", ("unit",))
    proved: NDArray[np.bool_] = measured("whether the state is proved for the domain", ("unit",))
    active: NDArray[np.float64] = measured(
        "share of the inputs that were looked at on which the unit's piece has a slope", ("unit",)
    )
    twin: NDArray[np.int64] = measured(
        "an earlier unit of the layer whose pre-activation, by the weights, is the same up to a factor; -1: none",
        ("unit",),
    )
    factor: NDArray[np.float64] = measured("its pre-activation over that of its twin; NaN without one", ("unit",))


class Units(Result):
    """What the units of a network do over a domain, or on data.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=6, depth=2, sigma_b=1.0, seed=3)
        >>> found = nf.units(net, nf.Box(-0.1, 0.1))
        >>> found.count("free") + found.count("dead") + found.count("on")
        12
        >>> sorted(found.to_dataframe().columns)[:4]
        ['active', 'factor', 'high', 'known']
    """

    FORMAT = "netfold units 1"

    units: UnitRanges = measured("all units")
    layers: tuple[WatchedLayer, ...] = measured("the layers that have units with pieces, in order", ("layer",))
    numbers: tuple[int, ...] = measured("their numbers among all layers, from 1")
    left_out: tuple[str, ...] = measured("layers whose units have no pieces of their own: maxima, smooth ones")
    where: str = measured("over what: a box, a polytope, or so many inputs")
    exact: bool = measured("whether the ranges are exact, and not bounds of them")
    ranks: tuple[int, ...] = measured(
        "numerical rank of each layer's image of the data, the mean taken off; empty for a domain"
    )
    counting_rule: str = measured("what the words mean")
    provenance: dict[str, Any] = measured(
        "model, seed, versions, time", default_factory=dict, compare=False, repr=False
    )

    plot = above("netfold.plots.units:states")

    def _headline(self) -> str:
        told = ", ".join(f"{self.count(state):,} {state}" for state in STATES)
        return f"Units: {told}, {'on' if self.ranks else 'over a'} {self.where}"

    def count(self, state: str, known: str | None = None) -> int:
        """How many units are in a state, of all or of those whose state is known so.

        Raises:
            InvalidInputError: there is no such state, or no such way to know it.
        """
        if state not in STATES or known not in (None, *KNOWN):
            raise InvalidInputError(f"a state is one of {', '.join(STATES)}, known one of {', '.join(KNOWN)}, or None")
        chosen = self.units.state == STATES.index(state)
        return int((chosen if known is None else chosen & (self.units.proved == (known == PROVED))).sum())

    @property
    def proved(self) -> float:
        """Share of all units whose state is proved."""
        return float(self.units.proved.mean()) if len(self.units.proved) else 1.0

    def to_dataframe(self) -> pd.DataFrame:
        """One row a unit: ``layer``, ``name``, ``label``, ``unit``, ``low``, ``high``, ``state``, ``known``.

        Beside them what was met. ``state`` is dead, on, saturated or free; ``known`` is proved or observed.
        """
        import pandas as pd

        layers, u = dict(zip(self.numbers, self.layers, strict=True)), self.units
        own = [layers[n] for n in u.layer.tolist()]
        return pd.DataFrame(
            {
                "layer": u.layer,
                "name": [layer.name for layer in own],
                "label": [layer.label for layer in own],
                "unit": u.unit,
                "low": u.low,
                "high": u.high,
                "state": np.array(STATES, object)[u.state],
                "known": np.where(u.proved, PROVED, OBSERVED),
                "met_low": u.met_low,
                "met_high": u.met_high,
                "active": u.active,
                "twin": u.twin,
                "factor": u.factor,
            }
        )

    def _more(self) -> dict[str, Variable]:
        return {"layer_number": variable(np.array(self.numbers, np.int64), "number among all layers", ("layer",))}
