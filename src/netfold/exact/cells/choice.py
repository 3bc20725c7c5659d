"""Which engine counts a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netfold.exact.cells.network import CellNetwork
from netfold.exact.cells.engine import Engine, within_range
from netfold.exact.numerics.threads import beside


@beside
@within_range
def engine_for(network: CellNetwork) -> Engine:
    """The engine that suits a network: double description in low dimension, a simplex method above.

    Double description keeps all vertices and rays of a cell, whose number grows fast with the dimension; up to
    `DESCRIPTION_LIMIT` coordinates that is cheaper than one linear program a decision.
    """
    from netfold.exact.cells.description.engine import DESCRIPTION_LIMIT, DoubleDescription

    if network.arrays.m <= DESCRIPTION_LIMIT:
        return DoubleDescription(network)
    from netfold.exact.cells.simplex.engine import Simplex

    return Simplex(network)
