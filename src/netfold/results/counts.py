"""A count of activation regions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from netfold.measures.cell_counts import CellJob, count_cells


@dataclass(frozen=True)
class CountResult:
    """A number of regions, with how it was found; ``int(count)`` is the number.

    Attributes:
        regions: the number.
        by_layer: activation regions of the network cut off after each layer, one entry a layer; empty where the
            method does not find them.
        method: how it was counted, and ``domain`` where.
        uncertain: places where the count rests on the tolerance or on rounding: exact where 0.
        margin: the closest decision, as a share of the scale of the layer's values; ``None`` where every close
            decision was settled exactly, so that there is nothing to fear from one.
        counting_rule: what was counted.
        decisions: signs that were decided, and ``resolved_exactly``: those among them that float64 could not certify
            and that were decided in rational arithmetic; ``None`` for planes and paths. They tell the effort, which
            depends a little on how the work was divided.
        provenance: model, versions, number type, time.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", sigma_b=1.0, seed=0)
        >>> count = nf.count_regions(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
        >>> int(count) == count.by_layer[-1], count.status
        (True, 'exact')
    """

    regions: int
    by_layer: tuple[int, ...]
    method: str
    domain: str
    uncertain: int
    margin: float | None
    counting_rule: str
    decisions: int | None = field(default=None, compare=False)
    resolved_exactly: int | None = field(default=None, compare=False)
    provenance: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _inradius: float | None = field(default=None, compare=False, repr=False)
    _job: CellJob | None = field(default=None, compare=False, repr=False)

    def __int__(self) -> int:
        return self.regions

    def __index__(self) -> int:
        return self.regions

    @property
    def smallest_inradius(self) -> float | None:
        """Radius of the largest ball in the thinnest region, in input space; infinite where every region holds any.

        Found with the count where it was made with ``inradius=True``; otherwise by another walk, when it is first
        asked for, which takes a few times as long as the count did. ``None`` for planes and paths.
        """
        if self._inradius is None and self._job is not None:
            found = count_cells(replace(self._job, inradius=True)).sums.smallest_inradius
            object.__setattr__(self, "_inradius", found)
        return self._inradius

    @property
    def status(self) -> str:
        """``exact``, or what the count rests on."""
        if self.decisions is None or not self.uncertain:
            return status_of(self.uncertain)
        return f"exact but for {self.uncertain:,} ties closer than the digits taken of square roots"


def status_of(uncertain: int) -> str:
    """``exact``, or how many decisions rest on the tolerance.

    Example:
        >>> status_of(0), status_of(2)
        ('exact', 'exact up to the tolerance, which decided in 2 places')
    """
    places = "1 place" if uncertain == 1 else f"{uncertain:,} places"
    return "exact" if uncertain == 0 else f"exact up to the tolerance, which decided in {places}"
