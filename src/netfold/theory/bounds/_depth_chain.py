"""The chain U(1, N, m) < U(2, N/2, m) < ... of Raghu et al. 2017, and where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from netfold.arguments import checked
from netfold.formats import table
from netfold.results.base import above
from netfold.theory.bounds._bound import Bound
from netfold.theory.bounds._raghu2017 import raghu2017
from netfold.theory.bounds._shape import Unit, positive, unit_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class DepthChain:
    """N units spread over 1, 2, ..., N layers; entry ``i`` of each list belongs to ``i + 1`` layers.

    Attributes:
        neurons: units in all, N.
        inputs: input dimension, m.
        unit: what the units are.
        widths: the layers' widths, as even as integers allow.
        leading: ``U(n, N/n, m) = (p N / n)^(m n)``, p knots a unit, for real widths: exact fractions.
        recursive: ``prod_l r(k_l, m)`` for those integer widths: a true bound.
    """

    neurons: int
    inputs: int
    unit: Unit
    widths: tuple[tuple[int, ...], ...]
    leading: tuple[Fraction, ...]
    recursive: tuple[Bound, ...]

    plot = above("netfold.plots.bounds:chain")

    @property
    def leading_holds_until(self) -> int:
        """The last depth up to which the leading form grows with every layer: about ``p N / e``."""
        return _rises_until(self.leading)

    @property
    def recursive_holds_until(self) -> int:
        """The last depth up to which the recursive product grows with every layer: about ``N / m``.

        From there on no layer has more than m units, so its r is ``(1 + p)^k`` and the product stays
        ``(1 + p)^N`` however the units are spread.
        """
        return _rises_until(self.recursive)

    @property
    def leading_peak(self) -> float:
        """Where ``(p N / n)^(m n)`` is largest over real n: ``p N / e`` (N itself if that is less)."""
        return min(self.unit.knots * self.neurons / math.e, float(self.neurons))

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each number of layers: mean width, both forms, and whether the chain still rises."""
        import pandas as pd

        layers = range(1, self.neurons + 1)
        leading_until, recursive_until = self.leading_holds_until, self.recursive_holds_until
        return pd.DataFrame(
            {
                "layers": layers,
                "mean_width": [self.neurons / n for n in layers],
                "widths": list(self.widths),
                "leading": pd.Series(self.leading, dtype=object),
                "log10_leading": [_log10(value) for value in self.leading],
                "leading_rises": [n <= leading_until for n in layers],
                "recursive": pd.Series([int(value) for value in self.recursive], dtype=object),
                "log10_recursive": [value.log10 for value in self.recursive],
                "recursive_rises": [n <= recursive_until for n in layers],
            }
        )

    def __repr__(self) -> str:
        import pandas as pd

        frame = self.to_dataframe()
        rises = [
            " and ".join(name for name in ("leading", "recursive") if row[f"{name}_rises"]) or "-"
            for row in frame.to_dict("records")
        ]
        columns = ("layers", "mean_width", "log10_leading", "log10_recursive")
        shown = pd.DataFrame({name: frame[name] for name in columns} | {"rises": rises})
        return table(
            f"{self.neurons} {self.unit.name} units over 1, 2, ... layers, {self.inputs} inputs: patterns, as log10:",
            shown,
            f"leading form U(n, N/n, m): rises to {self.leading_holds_until} layers (its peak is at pN/e = "
            f"{self.leading_peak:.3g})",
            f"recursive product, an upper bound: rises to {self.recursive_holds_until} layers",
        )


@checked
def depth_chain(neurons: int, inputs: int, activation: str | Unit = "relu") -> DepthChain:
    """The bound on activation patterns for N units spread over 1, 2, ..., N layers.

    Raghu et al. state ``U(1, N, m) < U(2, N/2, m) < ... < U(N, 1, m)`` for the leading form
    ``U(n, k, m) = k^(mn)`` (ReLU; ``(2k)^(mn)`` for hard-tanh): more layers, more patterns. The chain
    ends where ``(p N / n)^(m n)`` does, at n = p N / e layers (p knots a unit), and falls beyond; there
    widths are below e / p and the leading form no longer bounds anything. The recursive product
    ``prod r(k, m)`` rises until layers have m units, about N / m layers, and is constant beyond.

    Args:
        neurons: units in all, N.
        inputs: input dimension, m.
        activation: its name (``bounds.UNITS``) or a `bounds.Unit`.

    Returns:
        A `DepthChain`. Counted are activation patterns, equally regions; the leading form is an order of
        growth, the recursive product an upper bound for every network.

    Raises:
        InvalidInputError: a number is no positive integer, or the activation is unknown.

    Source:
        Raghu et al. 2017, Theorem 1 and the comparison of shallow and deep networks after it.

    Example:
        >>> from netfold.theory import bounds
        >>> chain = bounds.depth_chain(neurons=12, inputs=2)
        >>> [int(chain.leading[n - 1]) for n in (1, 2, 3, 4, 6, 12)]
        [144, 1296, 4096, 6561, 4096, 1]
        >>> chain.leading_holds_until, round(chain.leading_peak, 2)
        (4, 4.41)
        >>> chain.recursive_holds_until, chain.recursive[5] == chain.recursive[11] == 2**12
        (6, True)
    """
    N, m, unit = positive(neurons, "neurons"), positive(inputs, "inputs"), unit_of(activation)
    widths = tuple(_even_split(N, layers) for layers in range(1, N + 1))
    leading = tuple(Fraction(unit.knots * N, layers) ** (m * layers) for layers in range(1, N + 1))
    return DepthChain(N, m, unit, widths, leading, tuple(raghu2017(m, split, unit) for split in widths))


def _even_split(neurons: int, layers: int) -> tuple[int, ...]:
    width, wider = divmod(neurons, layers)
    return (width + 1,) * wider + (width,) * (layers - wider)


def _rises_until(values: Sequence[Fraction] | Sequence[int]) -> int:
    falls = (depth for depth in range(1, len(values)) if values[depth] <= values[depth - 1])
    return next(falls, len(values))


def _log10(value: Fraction) -> float:
    return math.log10(value.numerator) - math.log10(value.denominator)
