"""The report's section on units that never change on the data, and on those that do the same as others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.capture import Program
from netfold.errors import NetfoldError
from netfold.measures.units import units
from netfold.reporting.sensitivity import AT_MOST, FEWEST
from netfold.results.base import counted
from netfold.results.units import STATES, Units

SHARE = 0.05
"""Part of a budget that inputs for the section may take."""


def seen(program: Program, points: NDArray[np.float64], seconds: float | None, pace: float) -> Units | str:
    """What units are on a part of the data; or why that cannot be.

    Args:
        program: the network of the report.
        points: its inputs.
        seconds: how long it may take, and ``pace`` what an evaluation takes: fewer inputs are taken.
        pace: seconds.
    """
    count = min(AT_MOST, len(points))
    if seconds is not None and pace * count > SHARE * seconds:
        count = int(np.clip(SHARE * seconds / pace, min(FEWEST, count), count))
    try:
        found = units(program, points[np.unique(np.linspace(0, len(points) - 1, count).astype(np.int64))])
    except NetfoldError as error:
        return " ".join(str(error).split())
    return found if found.layers else "no layer has units with linear pieces of their own"


def sentence(found: Units) -> str:
    """How many never change, in a sentence or two."""
    total, twins = len(found.units.unit), int((found.units.twin >= 0).sum())
    words = {"dead": "are never on", "on": "are always on", "saturated": "are always saturated"}
    told = [f"{count:,} {words[state]}" for state in words if (count := found.count(state))]
    never = f"{', '.join(told)}, the other {found.count('free'):,} change" if told else "all change their state"
    repeat = "1 unit only repeats" if twins == 1 else f"{twins:,} units only repeat"
    also = f" {repeat} another of the layer, up to a factor." if twins else ""
    return f"On {found.where}, of {counted(total, 'unit')} {never}.{also}"


def rows(found: Units) -> list[dict[str, Any]]:
    """The table, layer by layer."""
    made = []
    for number, layer, rank in zip(found.numbers, found.layers, found.ranks, strict=True):
        mine = found.units.layer == number
        counts = {state: int((found.units.state[mine] == at).sum()) for at, state in enumerate(STATES)}
        twins = int((found.units.twin[mine] >= 0).sum())
        made.append(
            {"layer": number, "label": layer.label, "units": layer.units, **counts, "twins": twins, "rank": rank}
        )
    return made
