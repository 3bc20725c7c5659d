"""A count of activation regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from netfold.results.base import Result, counted, measured
from netfold.results.status import Certainty, Standing


class CountResult(Result):
    """A number of regions, with how it was found; ``int(count)`` is the number.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", sigma_b=1.0, seed=0)
        >>> count = nf.count_regions(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
        >>> int(count) == count.by_layer[-1], count.status
        (True, 'exact')
    """

    FORMAT = "netfold count of regions 1"

    regions: int = measured("the number")
    by_layer: tuple[int, ...] = measured(
        "activation regions of the network cut off after each layer, one entry a layer; empty where the method does "
        "not find them",
        name="regions_by_layer",
    )
    method: str = measured("how it was counted")
    domain: str = measured("where it was counted")
    uncertain: int = measured("places where the count rests on the tolerance or on rounding: exact where 0")
    margin: float | None = measured(
        "the closest decision, as a share of the scale of the layer's values; ``None`` where every close decision was "
        "settled exactly, so that there is nothing to fear from one"
    )
    counting_rule: str = measured("what was counted")
    decisions: int | None = measured(
        "signs that were decided; ``None`` for planes and paths. They tell the effort, which depends a little on how "
        "the work was divided",
        default=None,
        compare=False,
    )
    resolved_exactly: int | None = measured(
        "those among them that float64 could not certify and that were decided in rational arithmetic",
        default=None,
        compare=False,
    )
    provenance: dict[str, Any] = measured(
        "model, versions, number type, time", default_factory=dict, compare=False, repr=False
    )
    part: str = measured(
        "how much of the domain was counted, so that the number is a lower bound; empty where that is all", default=""
    )
    _inradius: float | None = measured(
        "the smallest inradius, where it is known",
        unit="units of the input space",
        name="smallest_inradius",
        default=None,
        compare=False,
        repr=False,
    )
    _rational: bool | None = measured(
        "whether all coefficients are rational numbers, so that every tie is decided as it stands",
        name="rational",
        default=None,
        compare=False,
        repr=False,
    )
    _walk: Callable[[], float | None] | None = field(default=None, compare=False, repr=False)

    @property
    def value(self) -> int:
        """The number, by the name that it has in estimates."""
        return self.regions

    def _headline(self) -> str:
        return f"CountResult: {counted(self.regions, 'region')} in {self.domain} ({self.status})"

    def __int__(self) -> int:
        return self.regions

    def __index__(self) -> int:
        return self.regions

    @property
    def smallest_inradius(self) -> float | None:
        """Radius of the largest ball in the thinnest region, in input space; infinite where every region holds any.

        Found with the count where it was made with ``inradius=True``; otherwise by another walk, when it is first
        asked for, which takes a few times as long as the count did. ``None`` for planes and paths, and for a count
        that was loaded without it.
        """
        if self._inradius is None and self._walk is not None:
            object.__setattr__(self, "_inradius", self._walk())
        return self._inradius

    @property
    def status(self) -> Standing:
        """``exact``, or what the count rests on, or of how much it is."""
        if self.part:
            return Certainty.PARTIAL.text(f": at least {counted(self.regions, 'region')}; {self.part}")
        if self.decisions is None or not self.uncertain:
            return status_of(self.uncertain)
        if self._rational is False:
            return Certainty.ROOTS.text(f" {self.uncertain:,} ties closer than the digits taken of square roots")
        return Certainty.RANGE.text("; weights are so large or small that products may")

    def to_dict(self) -> dict[str, Any]:
        """All numbers and words, for JSON; the smallest inradius where it is known."""
        return super().to_dict() | {"status": self.status}


def status_of(uncertain: int) -> Standing:
    """``exact``, or how many decisions rest on the tolerance.

    Example:
        >>> status_of(0), status_of(2)
        ('exact', 'exact up to the tolerance, which decided in 2 places')
    """
    if uncertain == 0:
        return Certainty.EXACT.text()
    return Certainty.TOLERANCE.text(f", which decided in {counted(uncertain, 'place')}")
